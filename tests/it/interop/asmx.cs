// ASP.NET's System.Web.Services behind an HttpListener: the .NET of before 2008, as Mono runs it.
// Writes what it saw to SEEN, a line for each field: its name, and its bytes in hex.
using System;
using System.Globalization;
using System.IO;
using System.Net;
using System.Text;
using System.Web;
using System.Web.Hosting;
using System.Web.Services;
using System.Web.Services.Protocols;
using System.Xml;
using System.Xml.Serialization;

[WebService(Namespace = "urn:omgate:interop", Name = "Interop")]
[WebServiceBinding(ConformsTo = WsiProfiles.None)]
public class Interop : WebService
{
    [WebMethod]
    [SoapDocumentMethod("urn:omgate:interop/PutRecord")]
    [return: XmlElement("seen")]
    public string PutRecord(
        string id, string text, [XmlElement(IsNullable = true)] string nothing, string empty, string blanks,
        decimal amount, string left, string mode)
    {
        if (mode == "client")
        {
            var document = new XmlDocument();
            XmlNode detail = document.CreateNode(XmlNodeType.Element, SoapException.DetailElementName.Name, "");
            XmlNode problem = document.CreateElement("Problem", "urn:omgate:interop");
            problem.InnerText = "E42";
            detail.AppendChild(problem);
            throw new SoapException("the record is wrong", SoapException.ClientFaultCode, "urn:interop", detail);
        }
        if (mode == "server") throw new InvalidOperationException("the ledger is closed");
        if (mode == "security")
        {
            const string secext = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
            throw new SoapException("nobody of that name", new XmlQualifiedName("FailedAuthentication", secext));
        }
        var lines = new StringBuilder();
        Word(lines, "id", id);
        Word(lines, "text", text);
        Word(lines, "nothing", nothing);
        Word(lines, "empty", empty);
        Word(lines, "blanks", blanks);
        Word(lines, "amount", amount.ToString(CultureInfo.InvariantCulture));
        Word(lines, "left", left);
        File.WriteAllText(Environment.GetEnvironmentVariable("SEEN"), lines.ToString());
        return text;
    }

    static void Word(StringBuilder lines, string name, string value)
    {
        lines.Append(name).Append(' ');
        if (value == null) lines.Append("nil");
        else lines.Append('=').Append(BitConverter.ToString(Encoding.UTF8.GetBytes(value)).Replace("-", "").ToLower());
        lines.Append('\n');
    }
}

// One request of the listener, as ASP.NET wants to see it.
public class Request : SimpleWorkerRequest
{
    readonly HttpListenerContext context;
    readonly byte[] body;

    public Request(HttpListenerContext context, byte[] body, TextWriter nowhere)
        : base("interop.asmx", "", nowhere)
    {
        this.context = context;
        this.body = body;
    }

    public override string GetHttpVerbName() { return context.Request.HttpMethod; }
    public override string GetUriPath() { return "/interop.asmx"; }
    public override string GetRawUrl() { return context.Request.RawUrl; }
    public override byte[] GetPreloadedEntityBody() { return body; }
    public override bool IsEntireEntityBodyIsPreloaded() { return true; }
    public override int GetPreloadedEntityBodyLength() { return body.Length; }
    public override int GetTotalEntityBodyLength() { return body.Length; }
    public override string GetKnownRequestHeader(int index)
    {
        return context.Request.Headers[GetKnownRequestHeaderName(index)];
    }
    public override string GetUnknownRequestHeader(string name) { return context.Request.Headers[name]; }
    public override string[][] GetUnknownRequestHeaders()
    {
        string action = context.Request.Headers["SOAPAction"];
        return action == null ? new string[0][] : new[] { new[] { "SOAPAction", action } };
    }
    public override void SendStatus(int code, string words) { context.Response.StatusCode = code; }
    public override void SendKnownResponseHeader(int index, string value)
    {
        if (GetKnownResponseHeaderName(index) == "Content-Type") context.Response.ContentType = value;
    }
    public override void SendUnknownResponseHeader(string name, string value) { }
    public override void SendResponseFromMemory(byte[] data, int length)
    {
        context.Response.OutputStream.Write(data, 0, length);
    }
    public override void EndOfRequest()
    {
        try { context.Response.Close(); } catch (Exception) { }
    }
}

public class Host : MarshalByRefObject
{
    public void Run(string prefix)
    {
        var listener = new HttpListener();
        listener.Prefixes.Add(prefix);
        listener.Start();
        while (true)
        {
            HttpListenerContext context = listener.GetContext();
            var body = new MemoryStream();
            context.Request.InputStream.CopyTo(body);
            HttpRuntime.ProcessRequest(new Request(context, body.ToArray(), TextWriter.Null));
        }
    }

    public override object InitializeLifetimeService() { return null; }

    // The folder holds bin/asmx.exe and interop.asmx.
    public static void Main(string[] arguments)
    {
        var host = (Host)ApplicationHost.CreateApplicationHost(typeof(Host), "/", arguments[0]);
        host.Run("http://127.0.0.1:" + Environment.GetEnvironmentVariable("PORT") + "/");
    }
}
