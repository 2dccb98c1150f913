// Apache Axis 1.4: rpc/encoded, and multiRef in its answers. Writes what it saw to SEEN, a line for each field.
import java.io.FileOutputStream;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.math.BigDecimal;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import javax.xml.namespace.QName;
import org.apache.axis.AxisFault;
import org.apache.axis.configuration.FileProvider;
import org.apache.axis.transport.http.SimpleAxisServer;

public class Axis {
    public static class Record {
        private String id, text, nothing, empty, blanks, left;
        private BigDecimal amount;
        private String[] words;
        public String getId() { return id; }
        public void setId(String value) { id = value; }
        public String getText() { return text; }
        public void setText(String value) { text = value; }
        public String getNothing() { return nothing; }
        public void setNothing(String value) { nothing = value; }
        public String getEmpty() { return empty; }
        public void setEmpty(String value) { empty = value; }
        public String getBlanks() { return blanks; }
        public void setBlanks(String value) { blanks = value; }
        public BigDecimal getAmount() { return amount; }
        public void setAmount(BigDecimal value) { amount = value; }
        public String getLeft() { return left; }
        public void setLeft(String value) { left = value; }
        public String[] getWords() { return words; }
        public void setWords(String[] value) { words = value; }
    }

    public static class Service {
        public Record PutRecord(Record record, String mode) throws Exception {
            if (mode.equals("client")) {
                QName code = new QName("http://schemas.xmlsoap.org/soap/envelope/", "Client");
                throw new AxisFault(code, "the record is wrong", null, null);
            }
            if (mode.equals("server")) throw new IllegalStateException("the ledger is closed");
            if (mode.equals("security")) {
                QName code = new QName("http://schemas.xmlsoap.org/soap/envelope/", "Server.Unauthorized");
                throw new AxisFault(code, "nobody of that name", null, null);
            }
            try (Writer out = new OutputStreamWriter(new FileOutputStream(System.getenv("SEEN")), StandardCharsets.US_ASCII)) {
                word(out, "id", record.getId());
                word(out, "text", record.getText());
                word(out, "nothing", record.getNothing());
                word(out, "empty", record.getEmpty());
                word(out, "blanks", record.getBlanks());
                word(out, "amount", record.getAmount() == null ? null : record.getAmount().toPlainString());
                word(out, "left", record.getLeft());
                word(out, "words", record.getWords() == null ? null : String.join("|", record.getWords()));
            }
            return record;
        }
    }

    static void word(Writer out, String name, String value) throws Exception {
        StringBuilder hex = new StringBuilder(value == null ? "nil" : "=");
        if (value != null) for (byte b : value.getBytes(StandardCharsets.UTF_8)) hex.append(String.format("%02x", b));
        out.write(name + " " + hex + "\n");
    }

    public static void main(String[] arguments) throws Exception {
        SimpleAxisServer server = new SimpleAxisServer();
        server.setMyConfig(new FileProvider(arguments[0]));
        int port = Integer.parseInt(System.getenv("PORT"));
        server.setServerSocket(new ServerSocket(port, 50, InetAddress.getByName("127.0.0.1")));
        server.run();
    }
}
