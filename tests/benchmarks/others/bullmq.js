// BullMQ, measured as program.py measures the libraries of Python.
const { Queue, Worker } = require("bullmq");
const Redis = require("ioredis");
const readline = require("readline");

const said = JSON.parse(process.argv[2]);
const connection = () => new Redis(said.url.replace("unix://", ""), { maxRetriesPerRequest: null });
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
const now = () => Number(process.hrtime.bigint());
const SLOTS = 50;

async function main() {
  const queue = new Queue("default", { connection: connection() });
  const options = { removeOnComplete: true };
  const send = (argument) => queue.add("job", { argument }, options);
  const work = (run) => new Worker("default", run, { connection: connection(), concurrency: SLOTS });

  if (said.what === "enqueue") {
    for (let n = 0; n < 200; n++) await send(n);
    const start = now();
    for (let n = 0; n < said.jobs; n++) await send(n);
    say({ result: said.jobs / ((now() - start) / 1e9) });
    process.exit(0);
  } else if (said.what === "drain") {
    for (let at = 0; at < said.jobs; at += 500)
      await queue.addBulk(Array.from({ length: Math.min(500, said.jobs - at) }, (_, n) => ({ name: "job", data: { n }, opts: options })));
    let left = said.jobs, start = 0;
    work(async () => {
      left -= 1;
      if (left === said.jobs - SLOTS) start = now();
      if (left === 0) {
        say({ result: (said.jobs - SLOTS) / ((now() - start) / 1e9) });
        setTimeout(() => process.exit(0), 100);
      }
    });
  } else if (said.what === "idle") {
    const worker = work(async (job) => say({ ran: (now() - job.data.argument) / 1e6 }));
    await worker.waitUntilReady();
    setTimeout(() => say({ ready: true }), 1000);
    process.stdin.resume().on("end", () => process.exit(0));
  } else {
    await queue.waitUntilReady();
    say({ ready: true });
    readline.createInterface({ input: process.stdin }).on("line", () => send(now())).on("close", () => process.exit(0));
  }
}
main();
