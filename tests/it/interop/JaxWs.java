// JAX-WS RI, with Apache WSS4J in front. Writes what it saw to SEEN, a line for each field: its name, and its bytes in hex.
// A wsse:Security header must hold the user "omgate" with PASSWORD; its Timestamp must be of now.
// Where CERTIFICATE names a PEM file, Body and Timestamp must be signed with it.
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import javax.jws.WebMethod;
import javax.jws.WebParam;
import javax.jws.WebResult;
import javax.jws.WebService;
import javax.jws.soap.SOAPBinding;
import javax.security.auth.callback.Callback;
import javax.xml.bind.annotation.XmlAccessType;
import javax.xml.bind.annotation.XmlAccessorType;
import javax.xml.bind.annotation.XmlElement;
import javax.xml.bind.annotation.XmlType;
import javax.xml.namespace.QName;
import javax.xml.soap.SOAPException;
import javax.xml.soap.SOAPFactory;
import javax.xml.ws.Binding;
import javax.xml.ws.Endpoint;
import javax.xml.ws.WebServiceFeature;
import javax.xml.ws.handler.Handler;
import javax.xml.ws.handler.MessageContext;
import javax.xml.ws.handler.soap.SOAPHandler;
import javax.xml.ws.handler.soap.SOAPMessageContext;
import javax.xml.ws.soap.AddressingFeature;
import javax.xml.ws.soap.SOAPFaultException;
import org.apache.ws.security.WSConstants;
import org.apache.ws.security.WSDataRef;
import org.apache.ws.security.WSPasswordCallback;
import org.apache.ws.security.WSSecurityEngine;
import org.apache.ws.security.WSSecurityEngineResult;
import org.apache.ws.security.WSSecurityException;
import org.apache.ws.security.components.crypto.Merlin;

public class JaxWs {
    static final String SPACE = "urn:omgate:interop";
    static final String SOAP = "http://schemas.xmlsoap.org/soap/envelope/";
    static final String SECEXT = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";

    @XmlAccessorType(XmlAccessType.FIELD)
    @XmlType(name = "Record", namespace = SPACE)
    public static class Record {
        @XmlElement(namespace = SPACE) public String id;
        @XmlElement(namespace = SPACE) public String text;
        @XmlElement(namespace = SPACE, nillable = true) public String nothing;
        @XmlElement(namespace = SPACE) public String empty;
        @XmlElement(namespace = SPACE) public String blanks;
        @XmlElement(namespace = SPACE) public BigDecimal amount;
        @XmlElement(namespace = SPACE) public String left;
        @XmlElement(namespace = SPACE) public String mode;
    }

    @XmlAccessorType(XmlAccessType.FIELD)
    @XmlType(name = "Seen", namespace = SPACE)
    public static class Seen {
        @XmlElement(namespace = SPACE) public String seen;
    }

    @WebService(targetNamespace = SPACE, serviceName = "Interop")
    @SOAPBinding(parameterStyle = SOAPBinding.ParameterStyle.BARE)
    public static class Service {
        @WebMethod(operationName = "PutRecord", action = SPACE + "/PutRecord")
        @WebResult(name = "PutRecordResponse", targetNamespace = SPACE)
        public Seen put(@WebParam(name = "PutRecord", targetNamespace = SPACE) Record record) {
            if (record.mode.equals("client")) throw fault(new QName(SOAP, "Client"), "the record is wrong");
            if (record.mode.equals("server")) throw new IllegalStateException("the ledger is closed");
            String file = System.getenv("SEEN");
            try (Writer out = new OutputStreamWriter(new FileOutputStream(file), StandardCharsets.US_ASCII)) {
                word(out, "id", record.id);
                word(out, "text", record.text);
                word(out, "nothing", record.nothing);
                word(out, "empty", record.empty);
                word(out, "blanks", record.blanks);
                word(out, "amount", record.amount == null ? null : record.amount.toPlainString());
                word(out, "left", record.left);
            } catch (IOException broken) {
                throw new UncheckedIOException(broken);
            }
            Seen seen = new Seen();
            seen.seen = record.text;
            return seen;
        }
    }

    static void word(Writer out, String name, String value) throws IOException {
        StringBuilder hex = new StringBuilder(value == null ? "nil" : "=");
        if (value != null) for (byte b : value.getBytes(StandardCharsets.UTF_8)) hex.append(String.format("%02x", b));
        out.write(name + " " + hex + "\n");
    }

    static RuntimeException fault(QName code, String text) {
        try {
            return new SOAPFaultException(SOAPFactory.newInstance().createFault(text, code));
        } catch (SOAPException broken) {
            return new IllegalStateException(broken);
        }
    }

    static class Guard implements SOAPHandler<SOAPMessageContext> {
        private final WSSecurityEngine engine = new WSSecurityEngine();

        public Set<QName> getHeaders() { return Collections.singleton(new QName(SECEXT, "Security")); }

        public boolean handleMessage(SOAPMessageContext context) {
            if ((Boolean) context.get(MessageContext.MESSAGE_OUTBOUND_PROPERTY)) return true;
            try {
                Merlin trusted = trusted();
                List<WSSecurityEngineResult> results =
                    engine.processSecurityHeader(context.getMessage().getSOAPPart(), null, callbacks -> {
                        for (Callback each : callbacks) {
                            WSPasswordCallback callback = (WSPasswordCallback) each;
                            if ("omgate".equals(callback.getIdentifier())) callback.setPassword(System.getenv("PASSWORD"));
                        }
                    }, trusted);
                if (trusted != null && !signed(results).containsAll(List.of("Body", "Timestamp"))) {
                    throw new WSSecurityException(WSSecurityException.FAILED_CHECK);
                }
                return true;
            } catch (WSSecurityException refused) {
                QName code = refused.getFaultCode() == null ? new QName(SECEXT, "InvalidSecurity") : refused.getFaultCode();
                throw fault(code, refused.getMessage());
            } catch (Exception broken) {
                throw new IllegalStateException(broken);
            }
        }

        private static Merlin trusted() throws Exception {
            String file = System.getenv("CERTIFICATE");
            if (file == null) return null;
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            try (FileInputStream pem = new FileInputStream(file)) {
                store.setCertificateEntry("omgate", CertificateFactory.getInstance("X.509").generateCertificate(pem));
            }
            Merlin crypto = new Merlin();
            crypto.setKeyStore(store);
            return crypto;
        }

        private static List<String> signed(List<WSSecurityEngineResult> results) {
            List<String> names = new ArrayList<>();
            if (results == null) return names;
            for (WSSecurityEngineResult result : results) {
                if (!Integer.valueOf(WSConstants.SIGN).equals(result.get(WSSecurityEngineResult.TAG_ACTION))) continue;
                for (Object each : (List<?>) result.get(WSSecurityEngineResult.TAG_DATA_REF_URIS)) {
                    names.add(((WSDataRef) each).getName().getLocalPart());
                }
            }
            return names;
        }

        public boolean handleFault(SOAPMessageContext context) { return true; }
        public void close(MessageContext context) { }
    }

    public static void main(String[] arguments) {
        // Its management beans take ten seconds to start, and nobody looks at them.
        System.setProperty("com.sun.xml.ws.monitoring.endpoint", "false");
        boolean required = "required".equals(System.getenv("ADDRESSING"));
        WebServiceFeature addressing = new AddressingFeature(required, required);
        Endpoint endpoint = Endpoint.create(new Service(), addressing);
        Binding binding = endpoint.getBinding();
        List<Handler> chain = binding.getHandlerChain();
        chain.add(new Guard());
        binding.setHandlerChain(chain);
        endpoint.publish("http://127.0.0.1:" + System.getenv("PORT") + "/interop");
    }
}
