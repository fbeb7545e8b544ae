// Writes the document of the standard input anew with a Java library. The argument chooses how.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.core.JsonGenerator;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;

public final class Rewrite {
    public static void main(String[] args) throws IOException {
        byte[] body = System.in.readAllBytes();
        System.out.write(rewrite(args[0], body));
        System.out.flush();
    }

    private static byte[] rewrite(String kind, byte[] body) throws IOException {
        ObjectMapper jackson = new ObjectMapper();
        String text = new String(body, StandardCharsets.UTF_8);
        switch (kind) {
            case "jackson-map":
                return jackson.writeValueAsBytes(jackson.readValue(body, Map.class));
            case "jackson-tree":
                return jackson.writeValueAsBytes(jackson.readTree(body));
            case "jackson-sorted":
                jackson.configure(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS, true);
                return jackson.writeValueAsBytes(jackson.readValue(body, TreeMap.class));
            case "jackson-pretty":
                return jackson.writerWithDefaultPrettyPrinter().writeValueAsBytes(jackson.readTree(body));
            case "jackson-ascii":
                jackson.configure(JsonGenerator.Feature.ESCAPE_NON_ASCII, true);
                return jackson.writeValueAsBytes(jackson.readTree(body));
            case "gson-map":
                return bytes(new Gson().toJson(new Gson().fromJson(text, Map.class)));
            case "gson-tree":
                return bytes(new Gson().toJson(JsonParser.parseString(text)));
            case "gson-pretty":
                return bytes(new GsonBuilder().setPrettyPrinting().create().toJson(JsonParser.parseString(text)));
            case "latin1-string":
                return bytes(new String(body, StandardCharsets.ISO_8859_1));
            case "ascii-string":
                return bytes(new String(body, StandardCharsets.US_ASCII));
            case "latin1-bytes":
                return text.getBytes(StandardCharsets.ISO_8859_1);
            case "utf16-bytes":
                return text.getBytes(StandardCharsets.UTF_16);
            case "map-string":
                return bytes(jackson.readValue(body, Map.class).toString());
            case "char-count":
                // The limit counts characters, and the body is longer in bytes.
                byte[] cut = new byte[text.length()];
                System.arraycopy(body, 0, cut, 0, cut.length);
                return cut;
            default:
                throw new IllegalArgumentException(kind);
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
