"""The columns that Fink adds to a ZTF alert, with the types and defaults that readers of the tables expect."""

from fink_broker.surveys import FinkColumn

FINK_COLUMNS: dict[str, FinkColumn] = {
    # Catalogues
    "DR3Name": FinkColumn("string", "Unknown"),
    "Plx": FinkColumn("float", 0.0),
    "e_Plx": FinkColumn("float", 0.0),
    "gaiaVarFlag": FinkColumn("int", 0),
    "gaiaClass": FinkColumn("string", "Unknown"),
    "cdsxmatch": FinkColumn("string", "Unknown"),
    "gcvs": FinkColumn("string", "Unknown"),
    "vsx": FinkColumn("string", "Unknown"),
    "x3hsp": FinkColumn("string", "Unknown"),
    "x4lac": FinkColumn("string", "Unknown"),
    "spicy_id": FinkColumn("int", -1),
    "spicy_class": FinkColumn("string", "Unknown"),
    "tns": FinkColumn("string", ""),
    "mangrove_HyperLEDA_name": FinkColumn("string", "None", "mangrove.HyperLEDA_name"),
    "mangrove_2MASS_name": FinkColumn("string", "None", "mangrove.`2MASS_name`"),
    "mangrove_lum_dist": FinkColumn("string", "None", "mangrove.lum_dist"),
    "mangrove_ang_dist": FinkColumn("string", "None", "mangrove.ang_dist"),
    # Classifiers
    "anomaly_score": FinkColumn("double", 0.0),
    "mulens": FinkColumn("double", 0.0),
    "rf_kn_vs_nonkn": FinkColumn("double", 0.0),
    "rf_snia_vs_nonia": FinkColumn("double", 0.0),
    "snn_sn_vs_all": FinkColumn("double", 0.0),
    "snn_snia_vs_nonia": FinkColumn("double", 0.0),
    "slsn_score": FinkColumn("float", -1.0),
    "is_transient": FinkColumn("boolean", False),
    # Solar system
    "roid": FinkColumn("int", 0),
    "tracklet": FinkColumn("string", "", in_alerts=False),
    # Light curves
    "nalerthist": FinkColumn("int", 0),
    "lc_features_g": FinkColumn("string", "[]", in_alerts=False),
    "lc_features_r": FinkColumn("string", "[]", in_alerts=False),
    "jd_first_real_det": FinkColumn("double", 0.0),
    "jdstarthist_dt": FinkColumn("double", 0.0),
    "mag_rate": FinkColumn("double", 0.0),
    "sigma_rate": FinkColumn("double", 0.0),
    "lower_rate": FinkColumn("double", 0.0),
    "upper_rate": FinkColumn("double", 0.0),
    "delta_time": FinkColumn("double", 0.0),
    "from_upper": FinkColumn("boolean", False),
    "blazar_stats_instantness_low": FinkColumn("float", 0.0, "blazar_stats.instantness_low"),
    "blazar_stats_robustness_low": FinkColumn("float", 0.0, "blazar_stats.robustness_low"),
    "blazar_stats_instantness_high": FinkColumn("float", 0.0, "blazar_stats.instantness_high"),
    "blazar_stats_robustness_high": FinkColumn("float", 0.0, "blazar_stats.robustness_high"),
    "blazar_stats_cdf_quantile": FinkColumn("float", 0.0, "blazar_stats.cdf_quantile"),
}
