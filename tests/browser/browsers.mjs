// Browsers that scenarios drive. ALOUD_TEST_BROWSER chooses one: `chromium` (if it is not set), `firefox` or
// `webkit`. Each has a page with `goto`, `evaluate`, `waitForFunction`, `waitForTimeout`, `click` and `on`, which do
// the same in each. The page of Chromium is Playwright's, with all its methods.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const modules = createRequire(`${process.env.ALOUD_TEST_BROWSER_PATH}/tests.mjs`);
const PATIENCE_MS = 20_000;

export function required(name) {
  return modules(name);
}

export function modulePath(name) {
  return modules.resolve(name);
}

export async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

export const PLAYS = "--autoplay-policy=no-user-gesture-required";

/** Starts the browser with a temporary profile. Only Chromium takes the flags. */
export async function browse(...flags) {
  const profile = await mkdtemp(join(tmpdir(), "aloud-browser-"));
  const programs = [];
  const close = async (context) => {
    await context?.close();
    for (const end of programs.reverse()) await end();
    await rm(profile, { recursive: true, force: true });
  };
  let context;
  try {
    const start = { chromium, firefox, webkit }[process.env.ALOUD_TEST_BROWSER ?? "chromium"];
    context = await start(profile, flags, programs);
  } catch (error) {
    await close();
    throw error;
  }
  return { context, close: () => close(context) };
}

const pause = (ms) => new Promise((over) => setTimeout(over, ms));

/** Waits until a condition holds, and returns its value. */
async function until(condition, what, patienceMs = PATIENCE_MS) {
  for (const end = Date.now() + patienceMs; ; await pause(20)) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`Waited in vain for ${what}.`);
  }
}

/** Starts a program in a process group of its own, and waits until what it prints matches. */
async function run(programs, command, args, env, pattern = /^/) {
  const stdio = ["ignore", "pipe", "pipe"];
  const child = spawn(command, args, { env: { ...process.env, ...env }, detached: true, stdio });
  const ended = new Promise((resolve) => child.on("close", resolve).on("error", resolve));
  const kill = () => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {} // It has ended.
  };
  process.on("exit", kill);
  ended.then(() => process.off("exit", kill));
  programs.push(() => (kill(), ended));
  let printed = "";
  let failure;
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (printed += data));
  ended.then((how) => (failure = new Error(`${command} ended: ${how} ${printed}`)));
  return until(() => {
    if (failure) throw failure;
    return pattern.exec(printed);
  }, command);
}

/** Starts a sound server with a loudspeaker that makes no sound, and returns the environment of its clients. */
async function loudspeaker(profile, programs) {
  const socket = join(profile, "pulse.sock");
  const home = { HOME: profile, XDG_RUNTIME_DIR: profile };
  const modules = ["module-null-sink", `module-native-protocol-unix auth-anonymous=1 socket=${socket}`];
  const args = ["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-level=info"];
  await run(programs, "pulseaudio", [...args, ...modules.flatMap((module) => ["-L", module])], home, /Daemon startup complete/);
  return { ...home, PULSE_SERVER: `unix:${socket}` };
}

async function chromium(profile, flags) {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
  const context = await required("playwright-core").chromium.launchPersistentContext(profile, {
    executablePath: process.env.ALOUD_TEST_CHROMIUM,
    headless: true,
    args: [...args, "--disable-component-update", "--disable-sync", ...flags],
  });
  context.setDefaultTimeout(PATIENCE_MS);
  return context;
}

// In the page: calls a function, and keeps its result or error, as JSON, under the number that it returns. The driver
// of Firefox takes 1.5 s for the numbers of a recording, one by one, and WebDriver has a deadline for promises.
function begin(source, given) {
  const results = (globalThis.results ??= []);
  const number = results.push(undefined) - 1;
  const run = async () => {
    const value = (0, eval)(source);
    return typeof value === "function" ? value(given) : value;
  };
  run().then(
    (value) => (results[number] = JSON.stringify({ value })),
    (error) => (results[number] = JSON.stringify({ error: `${error} ${error.stack}` })),
  );
  return number;
}

/** A page as Playwright has it. `call` runs a synchronous function in the page. */
function pageOf({ call, ...page }) {
  const evaluate = async (inPage, given = null) => {
    const number = await call(begin, typeof inPage === "function" ? `(${inPage})` : inPage, given);
    const { value, error } = JSON.parse(await until(() => call((n) => results[n], number), inPage, Infinity));
    if (error) throw new Error(error);
    return value;
  };
  const waitForFunction = (inPage, given) => until(() => evaluate(inPage, given), inPage);
  return { ...page, evaluate, waitForFunction, waitForTimeout: pause };
}

async function firefox(profile, _, programs) {
  const browser = await required("puppeteer-core").launch({
    browser: "firefox",
    executablePath: process.env.ALOUD_TEST_FIREFOX,
    env: { ...process.env, ...(await loudspeaker(profile, programs)) },
    extraPrefsFirefox: { "media.autoplay.default": 0, "media.autoplay.blocking_policy": 0 },
  });
  const newPage = async () => {
    const page = await browser.newPage();
    return pageOf({
      call: (inPage, ...given) => page.evaluate(inPage, ...given),
      goto: (url) => page.goto(url),
      click: (selector) => page.click(selector),
      on: (event, listener) => page.on(event, listener),
    });
  };
  return { newPage, close: () => browser.close() };
}

/** WebKitGTK, over WebDriver. It has no headless mode, so that it gets a screen of its own. */
async function webkit(profile, _, programs) {
  const [, screen] = await run(programs, "Xvfb", ["-displayfd", "1", "-nolisten", "tcp"], {}, /^(\d+)$/m);
  const env = { ...(await loudspeaker(profile, programs)), DISPLAY: `:${screen}` };
  const port = await freePort();
  await run(programs, "WebKitWebDriver", [`--port=${port}`], env);
  const driver = `http://127.0.0.1:${port}`;
  await until(() => ask(`${driver}/status`).catch(() => false), "WebKitWebDriver");
  const options = { binary: process.env.ALOUD_TEST_WEBKIT, args: ["--automation", "--autoplay-policy=allow"] };
  const { sessionId } = await ask(`${driver}/session`, {
    capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options } },
  });
  const session = `${driver}/session/${sessionId}`;
  const page = pageOf({
    call: (inPage, ...args) => ask(`${session}/execute/sync`, { script: `return (${inPage})(...arguments)`, args }),
    goto: (url) => ask(`${session}/url`, { url }),
    async click(selector) {
      const element = await ask(`${session}/element`, { using: "css selector", value: selector });
      await ask(`${session}/element/${Object.values(element)[0]}/click`, {});
    },
    on() {}, // WebDriver does not tell what a page complains of.
  });
  // A scenario opens one page, and the browser has one.
  return { newPage: async () => page, close: () => ask(session, undefined, "DELETE") };
}

/** Sends a command of WebDriver. */
async function ask(url, body, method = body ? "POST" : "GET") {
  const answer = await fetch(url, { method, body: body && JSON.stringify(body) });
  const { value } = await answer.json();
  if (!answer.ok) throw new Error(`${url}: ${value.error}: ${value.message}`);
  return value;
}
