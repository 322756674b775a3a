// A program that takes webhooks as the libraries of npm verify them.
//
// usage: receiver.js FORM SECRET
//
// FORM says what SECRET is: encoded (whsec_ and base64) or raw. Prints its port, then a line for each request: how it
// was judged, and what it carried. Answers 204 to what is genuine and 400 to what is not.

const crypto = require("node:crypto");
const http = require("node:http");

const libraries = { standardwebhooks: require("standardwebhooks"), svix: require("svix") };
const [form, secret] = process.argv.slice(2);
const options = form === "encoded" ? undefined : { format: "raw" };

function judge(headers, body) {
  const signature = crypto.createHmac("sha256", secret).update(body).digest("hex");
  if (headers["x-signature"] !== signature) {
    return "X-Signature";
  }
  for (const [name, library] of Object.entries(libraries)) {
    try {
      new library.Webhook(secret, options).verify(body, headers);
    } catch (error) {
      // Verified, and then read as one object, which a batch is not.
      if (!(error instanceof SyntaxError && headers["content-type"] === "application/x-ndjson")) {
        return `${name}: ${error}`;
      }
    }
  }
  return null;
}

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks);
    const wrong = judge(request.headers, body);
    const seen = { wrong, path: request.url, headers: request.headers, body: body.toString() };
    console.log(JSON.stringify(seen));
    response.writeHead(wrong === null ? 204 : 400).end();
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
