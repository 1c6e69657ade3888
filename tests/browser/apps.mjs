// Apps that bundle the npm package of aloud.js, in a browser: each tool builds the same small app, and the scenario
// clicks on its buttons. The page is of another origin than the server.
//
// ALOUD_TEST_APPS_PATH is a folder whose node_modules holds the tools.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { browse, check, freePort, open, same, serve, Site } from "./support.mjs";

const binary = resolve(process.argv[2]);
const exec = promisify(execFile);
const repository = join(import.meta.dirname, "../..");
const TEXT = "Good evening. The kettle is on, and tea will be ready in five minutes. No one has to wait for it.";

const WIRE = `
import { Aloud } from "aloud";

export function wire() {
  const aloud = new Aloud(new URLSearchParams(location.search).get("server"));
  const at = (id) => document.getElementById(id);
  aloud.on("state", ({ state }) => (document.body.dataset.state = state));
  aloud.on("word", ({ text }) => (at("words").textContent += text + " "));
  aloud.on("end", ({ reason }) => Object.assign(document.body.dataset, { end: reason, reconnects: aloud.stats.reconnects }));
  at("speak").onmouseenter = () => aloud.connect();
  at("speak").onclick = () => aloud.start(${JSON.stringify(TEXT)});
  at("pause").onclick = () => aloud.pause();
  at("resume").onclick = () => aloud.resume();
  at("stop").onclick = () => aloud.cancel();
  return () => aloud.close();
}
`;
const BUTTONS = ["speak", "pause", "resume", "stop"];
const MARKUP = `${BUTTONS.map((id) => `<button id="${id}">${id}</button>`).join("")}<p id="words"></p>`;
const page = (script) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>app</title><link rel="icon" href="data:,"><body>${MARKUP}${script}`;
const MAIN = 'import { wire } from "./wire.js";\nwire();\n';
const BUNDLED = { "main.js": MAIN, "dist/index.html": page('<script type="module" src="main.js"></script>') };
const NEXT = {
  "next.config.mjs": `export default { turbopack: { root: ${JSON.stringify(process.env.ALOUD_TEST_APPS_PATH)} } };\n`,
  "app/icon.svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>\n',
  "app/layout.jsx": 'export default function Layout({ children }) {\n  return <html lang="en"><body>{children}</body></html>;\n}\n',
  "app/page.jsx": `"use client";
import { useEffect } from "react";
import { wire } from "../wire.js";

export default function Speak() {
  useEffect(() => wire(), []);
  return <>${BUTTONS.map((id) => `<button id="${id}">${id}</button>`).join("")}<p id="words"></p></>;
}
`,
};

// The files of an app, and the commands that build it into `dist`, or serve it.
const APPS = {
  esbuild: { files: BUNDLED, build: ["esbuild", "main.js", "--bundle", "--format=esm", "--minify", "--outfile=dist/main.js"] },
  rollup: {
    files: {
      ...BUNDLED,
      "rollup.config.mjs": 'import resolve from "@rollup/plugin-node-resolve";\nexport default { input: "main.js", plugins: [resolve()], output: { file: "dist/main.js" } };\n',
    },
    build: ["rollup", "--config", "--silent"],
  },
  webpack: {
    files: { ...BUNDLED, "src/index.js": 'import { wire } from "../wire.js";\nwire();\n' },
    build: ["webpack-cli", "--mode=production", "--output-filename=main.js"],
  },
  vite: { files: { "main.js": MAIN, "index.html": page('<script type="module" src="/main.js"></script>') }, build: ["vite", "build", "--logLevel=error"] },
  next_with_turbopack: { files: NEXT, build: ["next", "build"], start: ["next", "start"] },
  next_with_webpack: { files: NEXT, build: ["next", "build", "--webpack"], start: ["next", "start"] },
  next_in_development: { files: NEXT, start: ["next", "dev"] },
};

/** Serves the files of a folder. */
async function serveFolder(folder) {
  const http = createServer(async (asked, answer) => {
    try {
      const path = asked.url.split("?")[0];
      check(!path.includes(".."), "another folder");
      const content = await readFile(join(folder, path === "/" ? "index.html" : path));
      answer.setHeader("Content-Type", path.endsWith(".js") ? "text/javascript" : "text/html");
      answer.end(content);
    } catch {
      answer.writeHead(404).end();
    }
  }).listen(0, "127.0.0.1");
  await once(http, "listening");
  return { url: `http://127.0.0.1:${http.address().port}`, stop: () => (http.closeAllConnections(), http.close()) };
}

/** Runs the server of an app, in a process group of its own. */
async function serveApp(tool, args, options) {
  const port = await freePort();
  const child = spawn(tool, [...args, "-p", String(port), "-H", "127.0.0.1"], { ...options, detached: true, stdio: "ignore" });
  const stop = () => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {} // It has ended.
  };
  process.on("exit", stop);
  const url = `http://127.0.0.1:${port}`;
  for (const end = Date.now() + 60_000; ; ) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok) return { url, stop };
    check(Date.now() < end && child.exitCode === null, `${args.join(" ")} serves no page.`);
    await new Promise((over) => setTimeout(over, 100));
  }
}

/** Path of the program of a package. */
async function program(home, name) {
  const folder = join(home, "node_modules", name);
  const { bin } = JSON.parse(await readFile(join(folder, "package.json")));
  return join(folder, typeof bin === "string" ? bin : Object.values(bin)[0]);
}

async function speaks({ files, build, start }) {
  const home = process.env.ALOUD_TEST_APPS_PATH;
  const folder = await mkdtemp(join(home, "app-"));
  const server = await serve(binary, "--listen=127.0.0.1:0", "--allow-origin=*");
  const site = await new Site().listen();
  site.target = server.port;
  let shown, browser;
  try {
    // As `npm install` of the package does it.
    const installed = join(folder, "node_modules/aloud");
    await mkdir(installed, { recursive: true });
    await exec(join(repository, ".ci/npm"), [folder]);
    await exec("tar", ["-xzf", (await exec("sh", ["-c", "ls aloud-*.tgz"], { cwd: folder })).stdout.trim(), "-C", installed, "--strip-components=1"], { cwd: folder });
    for (const [name, content] of Object.entries({ ...files, "wire.js": WIRE, "package.json": '{ "type": "module", "private": true }' })) {
      await mkdir(join(folder, name, ".."), { recursive: true });
      await writeFile(join(folder, name), content);
    }
    const options = { cwd: folder, env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1", NODE_ENV: "" } };
    if (build) await exec(await program(home, build[0]), build.slice(1), options);
    shown = start ? await serveApp(await program(home, start[0]), start.slice(1), options) : await serveFolder(join(folder, "dist"));

    browser = await browse();
    const { page, complaints } = await open(browser.context, `${shown.url}/?server=${encodeURIComponent(`${site.url}/speech`)}`);
    const until = (name, value) => page.waitForFunction(([name, value]) => document.body.dataset[name] === value, [name, value]);
    await page.hover("#speak");
    await page.click("#speak");
    await until("state", "speaking");
    await page.click("#pause");
    await until("state", "paused");
    site.cut();
    await page.click("#resume");
    await until("state", "speaking");
    site.cut();
    await until("end", "completed");
    same(await page.evaluate(() => Number(document.body.dataset.reconnects) > 0), true, "came back");
    same((await page.textContent("#words")).trim(), TEXT, "words");
    await page.click("#speak");
    await until("state", "speaking");
    await page.click("#stop");
    await until("end", "cancelled");
    same(complaints.filter((text) => !/hot-reloader|HMR|WebSocket connection/.test(text)), [], "complaints");
  } finally {
    await browser?.close();
    await shown?.stop();
    await server.stop();
    site.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The code of a page of the guide in this language, behind this text, with the address of another server. */
async function guide(language, behind, url, page = "src/guide/browser.md") {
  const text = await readFile(join(repository, page), "utf8");
  const place = text.indexOf(behind);
  const code = text.slice(place).split(`\`\`\`${language}\n`)[1]?.split("```")[0];
  check(place >= 0 && code?.includes("loud"), `${page} has no ${language} behind ${behind}`);
  return code.replaceAll("http://127.0.0.1:8080", url);
}

/** Runs `use` with the pages of a folder, and a server that lets in no others. */
async function withFolder(folder, use) {
  const shown = await serveFolder(folder);
  const server = await serve(binary, "--listen=127.0.0.1:0", `--allow-origin=${shown.url}`);
  let browser;
  try {
    const fill = async (name, content) => {
      await mkdir(join(folder, name, ".."), { recursive: true });
      await writeFile(join(folder, name), content);
    };
    const visit = async (path = "") => {
      browser = await browse();
      return open(browser.context, `${shown.url}/${path}`);
    };
    await use({ folder, server, fill, visit });
  } finally {
    await browser?.close();
    shown.stop();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The example of the guide, in a page of another origin. */
async function html_of_the_guide_speaks() {
  await withFolder(await mkdtemp(join(tmpdir(), "aloud-html-")), async ({ server, fill, visit }) => {
    const html = await guide("html", "## The module", server.url);
    same(await guide("html", "## In a browser", server.url, "README.md"), html, "the example of README");
    await fill("index.html", `<!doctype html><html lang="en"><title>html</title><link rel="icon" href="data:,">${html}`);
    const { page, complaints } = await visit();
    const words = [];
    page.on("console", (message) => words.push(message.text()));
    await page.click("#speak");
    while (words.length < 6) await page.waitForEvent("console");
    same([words.join(" "), complaints], ["Good evening. The kettle is on.", []], "words, complaints");
  });
}

/** The hook and the component of the guide, built with Vite, in React's strict mode. */
async function react_hook_of_the_guide_speaks() {
  const home = process.env.ALOUD_TEST_APPS_PATH;
  await withFolder(await mkdtemp(join(home, "app-")), async ({ folder, server, fill, visit }) => {
    await fill("package.json", '{ "type": "module", "private": true }');
    await fill("src/aloud.js", await (await fetch(`${server.url}/aloud.js`)).text());
    await fill("src/useAloud.js", await guide("js", "The hook `src/useAloud.js`", server.url));
    await fill("src/Speak.jsx", await guide("jsx", "`src/Speak.jsx`", server.url));
    await fill("src/main.jsx", `import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import Speak from "./Speak.jsx";
createRoot(document.getElementById("root")).render(<StrictMode><Speak text=${JSON.stringify(TEXT)} /></StrictMode>);
`);
    const script = '<script type="module" src="/src/main.jsx"></script>';
    await fill("index.html", `<!doctype html><html lang="en"><title>react</title><link rel="icon" href="data:,"><div id="root"></div>${script}`);
    await exec(await program(home, "vite"), ["build", "--base=./", "--logLevel=error"], { cwd: folder });
    const { page, complaints } = await visit("dist/index.html");
    const until = (text) => page.waitForFunction((text) => document.querySelector("output")?.textContent.includes(text), text);
    const press = (name) => page.getByRole("button", { name }).click();
    await press("Speak");
    await until("speaking: kettle");
    await press("Pause");
    await until("paused");
    await press("Resume");
    await until("speaking");
    await press("Stop");
    await until("idle");
    await press("Speak");
    await until("idle: it.");
    same(complaints, [], "complaints");
  });
}

const scenarios = Object.entries(APPS).map(([name, app]) => [`app_of_${name}_speaks`, () => speaks(app)]);
export const apps = { ...Object.fromEntries(scenarios), html_of_the_guide_speaks, react_hook_of_the_guide_speaks };
