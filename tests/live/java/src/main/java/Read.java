import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.cloudevents.CloudEvent;
import io.cloudevents.kafka.KafkaMessageFactory;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.JsonEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

import static java.nio.charset.StandardCharsets.UTF_8;

/** {@code java Read BOOTSTRAP REGISTRY TOPIC...}: all events of the topics, one JSON line each, by libraries of others. */
public class Read {
    static final ObjectMapper JSON = new ObjectMapper();
    static final PrintStream OUT = new PrintStream(System.out, false, UTF_8);

    public static void main(String[] arguments) throws Exception {
        Registry registry = new Registry(arguments[1]);
        Map<String, Object> settings = Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0],
            ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class,
            ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
            for (String topic : List.of(arguments).subList(2, arguments.length)) {
                readAll(consumer, topic, registry);
            }
        }
        OUT.flush();
    }

    static void readAll(KafkaConsumer<byte[], byte[]> consumer, String topic, Registry registry) throws Exception {
        Set<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
            .map(p -> new TopicPartition(topic, p.partition())).collect(Collectors.toSet());
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
            for (ConsumerRecord<byte[], byte[]> event : consumer.poll(Duration.ofSeconds(1))) {
                OUT.println(line(event, partitions.size(), registry));
            }
        }
    }

    static String line(ConsumerRecord<byte[], byte[]> event, int partitions, Registry registry) throws Exception {
        int own = BuiltInPartitioner.partitionForKey(event.key(), partitions);
        if (event.partition() != own) {
            throw new IllegalStateException("A Java producer puts " + new String(event.key(), UTF_8) + " into partition "
                + own + " of " + partitions + ", and it is in " + event.partition());
        }
        ObjectNode line = JSON.createObjectNode();
        line.put("topic", event.topic()).put("partition", event.partition()).put("offset", event.offset());
        line.put("key", new String(event.key(), UTF_8));
        ObjectNode headers = line.putObject("headers");
        for (Header header : event.headers()) {
            headers.put(header.key(), new String(header.value(), UTF_8));
        }
        line.set("record", record(event.value(), registry));
        line.set("cloudevent", cloudEvent(event));
        return JSON.writeValueAsString(line);
    }

    /** The value by Apache Avro, in its own JSON encoding. */
    static JsonNode record(byte[] value, Registry registry) throws Exception {
        ByteBuffer frame = ByteBuffer.wrap(value);
        if (frame.get() != 0) {
            throw new IOException("not the Confluent wire format");
        }
        Schema schema = registry.schema(frame.getInt());
        BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null);
        Object record = new GenericDatumReader<>(schema).read(null, decoder);
        if (!decoder.isEnd()) {
            throw new IOException("bytes behind the record");
        }
        ByteArrayOutputStream text = new ByteArrayOutputStream();
        JsonEncoder encoder = EncoderFactory.get().jsonEncoder(schema, text);
        new GenericDatumWriter<>(schema).write(record, encoder);
        encoder.flush();
        return JSON.readTree(text.toByteArray());
    }

    /** The same message by the SDK of CloudEvents. */
    static ObjectNode cloudEvent(ConsumerRecord<byte[], byte[]> message) {
        CloudEvent event = KafkaMessageFactory.createReader(message).toEvent();
        ObjectNode found = JSON.createObjectNode();
        found.put("specversion", event.getSpecVersion().toString()).put("id", event.getId());
        found.put("source", event.getSource().toString()).put("type", event.getType());
        found.put("time", event.getTime().toString()).put("datacontenttype", event.getDataContentType());
        found.put("data", event.getData().toBytes());
        found.put("value", message.value());
        found.set("extensions", JSON.valueToTree(event.getExtensionNames()));
        return found;
    }
}
