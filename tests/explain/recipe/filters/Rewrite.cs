// Writes the document of the standard input anew with a .NET library. The argument chooses how.

using System;
using System.IO;
using System.Linq;
using System.Text;
using System.Web;
using System.Web.Script.Serialization;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;

static class Rewrite
{
    static void Main(string[] args)
    {
        var input = new MemoryStream();
        Console.OpenStandardInput().CopyTo(input);
        var text = Encoding.UTF8.GetString(input.ToArray());
        var body = Make(args[0], text);
        Console.OpenStandardOutput().Write(body, 0, body.Length);
    }

    static byte[] Make(string kind, string text)
    {
        var utf8 = new UTF8Encoding(false);
        switch (kind)
        {
            case "newtonsoft":
                return utf8.GetBytes(JsonConvert.SerializeObject(JsonConvert.DeserializeObject(text)));
            case "newtonsoft-indented":
                return utf8.GetBytes(JToken.Parse(text).ToString(Formatting.Indented).Replace("\n", "\r\n"));
            case "newtonsoft-ascii":
                var settings = new JsonSerializerSettings { StringEscapeHandling = StringEscapeHandling.EscapeNonAscii };
                return utf8.GetBytes(JsonConvert.SerializeObject(JsonConvert.DeserializeObject(text), settings));
            case "javascript-serializer":
                var serializer = new JavaScriptSerializer();
                return utf8.GetBytes(serializer.Serialize(serializer.DeserializeObject(text)));
            case "file-with-bom":
                var file = Path.GetTempFileName();
                File.WriteAllText(file, text, Encoding.UTF8);
                return File.ReadAllBytes(file);
            case "unicode":
                return Encoding.Unicode.GetBytes(text);
            case "windows-1252":
                return Encoding.GetEncoding(1252).GetBytes(text);
            case "ascii":
                return Encoding.ASCII.GetBytes(text);
            case "write-line":
                return utf8.GetBytes(text + "\r\n");
            case "form":
                var fields = HttpUtility.ParseQueryString(text);
                var pairs = fields.AllKeys.Select(name => HttpUtility.UrlEncode(name) + "=" + HttpUtility.UrlEncode(fields[name]));
                return utf8.GetBytes(string.Join("&", pairs));
            default:
                throw new ArgumentException(kind);
        }
    }
}
