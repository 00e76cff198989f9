import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.Schema;

import static java.nio.charset.StandardCharsets.UTF_8;

/** Schemas by id, from the REST interface of a Schema Registry. */
class Registry {
    private final HttpClient http = HttpClient.newHttpClient();
    private final String address;
    private final Map<Integer, Schema> known = new HashMap<>();

    Registry(String address) {
        this.address = address;
    }

    Schema schema(int id) throws IOException, InterruptedException {
        if (!known.containsKey(id)) {
            known.put(id, parse(get("/schemas/ids/" + id), new Schema.Parser()));
        }
        return known.get(id);
    }

    /** A parser keeps the types that it has parsed: what is referred to comes first. */
    private Schema parse(JsonNode found, Schema.Parser parser) throws IOException, InterruptedException {
        for (JsonNode reference : found.path("references")) {
            if (!parser.getTypes().containsKey(reference.get("name").asText())) {
                String subject = URLEncoder.encode(reference.get("subject").asText(), UTF_8);
                parse(get("/subjects/" + subject + "/versions/" + reference.get("version").asInt()), parser);
            }
        }
        return parser.parse(found.get("schema").asText());
    }

    private JsonNode get(String path) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(address + path)).build();
        HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException(answer.statusCode() + " " + answer.body());
        }
        return Read.JSON.readTree(answer.body());
    }
}
