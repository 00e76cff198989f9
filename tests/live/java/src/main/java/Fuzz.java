import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.Decoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.Encoder;
import org.apache.avro.io.EncoderFactory;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * Answers a line of JSON by a line of JSON, with Apache Avro alone: {@code {"schema", "binary"}} by {@code {"json", "binary"}},
 * the value in Avro's JSON encoding and written again; {@code {"schema", "json"}} by {@code {"binary"}}; what Avro refuses
 * by {@code {"refused"}}.
 */
public class Fuzz {
    public static void main(String[] arguments) throws IOException {
        PrintStream out = new PrintStream(System.out, true, UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.println(Read.JSON.writeValueAsString(answer(Read.JSON.readTree(line))));
        }
    }

    static ObjectNode answer(JsonNode asked) {
        ObjectNode answer = Read.JSON.createObjectNode();
        try {
            Schema schema = new Schema.Parser().parse(asked.get("schema").asText());
            Object value = asked.has("json") ? fromJson(schema, asked.get("json").asText())
                : fromBinary(schema, asked.get("binary").binaryValue());
            return answer.put("json", toJson(schema, value)).put("binary", toBinary(schema, value));
        } catch (Exception | StackOverflowError refusal) {
            return answer.removeAll().put("refused", refusal.toString());
        }
    }

    static Object fromBinary(Schema schema, byte[] bytes) throws IOException {
        BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(bytes, null);
        Object value = new GenericDatumReader<>(schema).read(null, decoder);
        if (!decoder.isEnd()) {
            throw new IOException("bytes behind the value");
        }
        return value;
    }

    static Object fromJson(Schema schema, String text) throws IOException {
        Decoder decoder = DecoderFactory.get().jsonDecoder(schema, text);
        return new GenericDatumReader<>(schema).read(null, decoder);
    }

    static byte[] toBinary(Schema schema, Object value) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        write(schema, value, EncoderFactory.get().binaryEncoder(bytes, null));
        return bytes.toByteArray();
    }

    static String toJson(Schema schema, Object value) throws IOException {
        ByteArrayOutputStream text = new ByteArrayOutputStream();
        write(schema, value, EncoderFactory.get().jsonEncoder(schema, text));
        return text.toString(UTF_8);
    }

    private static void write(Schema schema, Object value, Encoder encoder) throws IOException {
        new GenericDatumWriter<>(schema).write(value, encoder);
        encoder.flush();
    }
}
