// Reads updates of WhatsApp as whatsapp-api-js of npm does.
//
// Takes a line of JSON for each update on stdin, {"body", "signature"}, the key as its argument; writes one for each
// with what the library made of it.
"use strict";

const crypto = require("node:crypto");
const readline = require("node:readline");
const path = require("node:path");

// It is written as a module, which require finds no way to.
const library = path.join(process.env.NODE_PATH, "whatsapp-api-js", "lib", "index.js");

async function read() {
  const { WhatsAppAPI } = await import(library);
  const ponyfill = { subtle: crypto.webcrypto.subtle, fetch: globalThis.fetch };
  const client = new WhatsAppAPI({ token: "none", appSecret: process.argv[2], webhookVerifyToken: "none", v: "v23.0", secure: true, ponyfill });
  let ids = [];
  client.on.message = async ({ message }) => ids.push(message.id);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { body, signature } = JSON.parse(line);
    ids = [];
    let genuine = true;
    try {
      await client.post(JSON.parse(body), body, signature);
    } catch (error) {
      // Of what it knows nothing of, it says so only behind the signature.
      genuine = error.constructor.name !== "WhatsAppAPIFailedToVerifyError";
    }
    console.log(JSON.stringify({ genuine, ids }));
  }
}

read();
