// An echo server made with `ws`, by others than the one in Python. Prints its port.
// usage: node websocket_peer.mjs DIRECTORY_WITH_NODE_MODULES
import { createRequire } from "node:module";

const require = createRequire(process.argv[2] + "/");
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: { threshold: 0 },
  maxPayload: 64 * 1024 * 1024,
  handleProtocols: (offered) => (offered.has("talk") ? "talk" : false),
});
server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket, request) => {
  if (request.url === "/ping") socket.ping("are you there");
  socket.on("pong", (payload) => socket.send(`pong ${payload}`));
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on("error", (error) => console.error(error.message));
});
