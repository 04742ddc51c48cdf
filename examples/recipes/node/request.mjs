// One request through the gateway from Node.js, with npm's zeromq.
//
//     npm install zeromq
//     node request.mjs [URL]
//
// The gateway's in_req_spec is $ZURL_REQ, else where the Debian package binds it.
import { Request } from "zeromq";

const endpoint = process.env.ZURL_REQ ?? "ipc:///run/zurl/zurl-req";
const uri = process.argv[2] ?? "https://example.com/";

const socket = new Request({ linger: 0, receiveTimeout: 30_000, sendTimeout: 5_000 });
socket.connect(endpoint);
try {
    await socket.send("J" + JSON.stringify({ method: "GET", uri, timeout: 20_000 }));
    const [message] = await socket.receive();
    const answer = JSON.parse(message.subarray(1).toString());
    if (answer.type === "error") {
        console.error(`request.mjs: ${answer.condition}: ${answer.ext?.detail ?? ""}`);
        process.exitCode = 1;
    } else {
        console.log(answer.code, answer.reason);
        console.log(answer.body);
    }
} catch (error) {
    console.error(`request.mjs: no gateway at ${endpoint}: ${error.message}`);
    process.exitCode = 1;
} finally {
    socket.close();
}
