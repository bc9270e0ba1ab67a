// A model server on Node's own http module: `node node_server.cjs PORT ANSWER`. Logs every request, and every message
// that Node's parser refuses, as one line of JSON on standard output.
"use strict";
const fs = require("fs");
const http = require("http");

const answer = process.argv[3];
const log = (entry) => fs.writeSync(1, JSON.stringify(entry) + "\n");

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const headers = request.headers;
    log({
      line: `${request.method} ${request.url} HTTP/${request.httpVersion}`,
      id: headers["x-request-id"] || "",
      length: headers["content-length"] || "",
      coding: headers["transfer-encoding"] || "",
      names: Object.keys(headers),
      body: Buffer.concat(pieces).toString("latin1"),
    });
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(answer) });
    response.end(answer);
  });
});
server.keepAliveTimeout = 300000;
server.maxRequestsPerSocket = 0;
server.on("clientError", (error, socket) => {
  if (error.code !== "ECONNRESET") {
    log({ line: `refused: ${error.code}`, id: "", length: "", coding: "", body: "" });
  }
  socket.destroy();
});
server.listen(Number(process.argv[2]), "127.0.0.1", 1024);
