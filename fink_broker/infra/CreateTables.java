// Creates HBase tables that are divided into regions from the start, which the Thrift interface cannot do. Run from its source.
// A line of the standard input is a table: name, families (by commas), compression, and the first keys of the regions after the first, by tabs.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.io.compress.Compression;
import org.apache.hadoop.hbase.io.encoding.DataBlockEncoding;
import org.apache.hadoop.hbase.regionserver.BloomType;
import org.apache.hadoop.hbase.util.Bytes;

public class CreateTables {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<Future<Void>> made = new ArrayList<>();
        try (Connection connection = ConnectionFactory.createConnection(HBaseConfiguration.create()); Admin admin = connection.getAdmin()) {
            for (String line; (line = lines.readLine()) != null; ) {
                String[] parts = line.split("\t");
                TableDescriptorBuilder table = TableDescriptorBuilder.newBuilder(TableName.valueOf(parts[0]));
                for (String family : parts[1].split(",")) {
                    // Keys are long and repeated in each cell: FAST_DIFF keeps of each what differs from the one before.
                    table.setColumnFamily(ColumnFamilyDescriptorBuilder.newBuilder(Bytes.toBytes(family)).setMaxVersions(1)
                        .setBloomFilterType(BloomType.ROW).setCompressionType(Compression.Algorithm.valueOf(parts[2]))
                        .setDataBlockEncoding(DataBlockEncoding.FAST_DIFF).build());
                }
                byte[][] splits = Arrays.stream(parts).skip(3).map(Bytes::toBytes).toArray(byte[][]::new);
                made.add(splits.length == 0 ? admin.createTableAsync(table.build()) : admin.createTableAsync(table.build(), splits));
            }
            for (Future<Void> one : made) {
                one.get(120, TimeUnit.SECONDS);
            }
        }
    }
}
