"""One module a command of the launcher; each has `main(argv) -> exit code`."""
