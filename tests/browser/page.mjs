// The demo page in Chromium. With ALOUD_TEST_PICTURES, each scenario leaves its pictures in that folder.
//
//     node tests/browser/page.mjs PATH_OF_ALOUD [SCENARIO...]

import { readFile } from "node:fs/promises";
import { browse, check, open, perform, PLAYS, same, serve } from "./support.mjs";

const [binary, ...wanted] = process.argv.slice(2);
const TEXT = "Good evening. The kettle is on, and tea will be ready in five minutes. Sit down, and tell me about the garden and the old boat.";

const scenarios = {
  async dead_server_is_named_and_no_token_is_asked_for() {
    await withPage(async ({ page, server }) => {
      await server.stop();
      await page.click("#speak");
      await page.waitForFunction(() => document.getElementById("trouble").textContent.startsWith("The server does not answer."));
      check(!(await page.isVisible("#token-choice")), "A token is asked for.");
      await picture(page, "dead");
    });
  },

  async empty_text_is_not_finished() {
    await withPage(async ({ page }) => {
      for (const text of ["", " \n ", "..."]) {
        await page.fill("#text", text);
        await page.click("#speak");
        await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("Nothing to speak"));
        check(await page.isVisible("#text"), "The text cannot be edited.");
      }
    });
  },

  async words_that_the_voice_cannot_say_are_not_read() {
    await withPage(async ({ page }) => {
      await page.fill("#text", "Hello there. مرحبا بالعالم");
      await page.click("#speak");
      await page.waitForFunction(() => document.getElementById("status").textContent === "Finished.");
      same(await page.locator("#reader .said").allTextContents(), ["Hello", "there."], "read");
      check((await page.textContent("#trouble")).includes("cannot speak"), "There is no warning.");
      await picture(page, "unspeakable");
    });
  },

  async outage_is_played_through_and_marked() {
    await withPage(async ({ page }) => {
      await page.fill("#text", TEXT);
      await page.click("#speak");
      await page.waitForFunction(() => parseFloat(document.getElementById("buffered").textContent) > 1.7);
      await page.waitForSelector("#reader .said");
      await page.click("#cut");
      await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("No network."));
      await picture(page, "outage-during");
      await page.waitForSelector("#outage:not([hidden])");
      const sentence = await page.textContent("#outage");
      const [, seconds] = sentence.match(/^Played through a (\d\.\d) s outage\. No gap/) ?? [];
      check(Number(seconds) >= 0.8, sentence);
      check((await page.getAttribute("#wave", "aria-label")).endsWith(`played through a ${seconds} s outage`), "The waveform does not say it.");
      await picture(page, "outage");
      await page.waitForFunction(() => document.getElementById("status").textContent === "Finished.");
      check(await page.isVisible("#outage"), "The outage is gone at the end.");
    });
  },

  async click_on_a_word_goes_on_from_there() {
    await withPage(async ({ page }) => {
      await page.fill("#text", TEXT);
      await page.click("#speak");
      await page.waitForSelector("#reader .now");
      await page.locator("#reader span", { hasText: "garden" }).click();
      await page.waitForFunction(() => document.querySelector("#reader .now")?.textContent === "garden");
      check((await page.locator("#reader .said").count()) >= 20, "The words before it are not read.");
      check((await page.textContent("#log")).includes('"prompt":"garden and the old boat."'), "The text does not begin there.");
      await page.waitForFunction(() => document.getElementById("status").textContent === "Finished.");
    });
  },

  async audio_is_saved_as_wav_and_mp3() {
    await withPage(async ({ page }) => {
      await page.fill("#text", "Good evening.");
      await page.click("#speak");
      await page.waitForFunction(() => document.getElementById("status").textContent === "Finished.");
      const [saved] = await Promise.all([page.waitForEvent("download"), page.click("#wav")]);
      const wav = await readFile(await saved.path());
      const rows = (await page.textContent("#log")).matchAll(/([\d,]+) bytes in/g);
      const said = [...rows].reduce((sum, [, bytes]) => sum + Number(bytes.replace(",", "")), 0);
      same([saved.suggestedFilename(), wav.toString("latin1", 0, 4), wav.readUInt32LE(40), wav.length], ["aloud.wav", "RIFF", said, said + 44], "WAV");
      same([wav.readUInt32LE(4), wav.readUInt32LE(24), wav.readUInt16LE(34)], [said + 36, 16_000, 16], "header");
      const [mp3] = await Promise.all([page.waitForEvent("download"), page.click("#mp3")]);
      same([mp3.suggestedFilename(), (await readFile(await mp3.path()))[0]], ["aloud.mp3", 0xff], "MP3");
    });
  },

  async page_links_its_manual_and_counts_characters() {
    await withPage(async ({ page, server }) => {
      for (const link of await page.locator("footer a").all()) {
        const answer = await fetch(new URL(await link.getAttribute("href"), server.url));
        check((await answer.text()).startsWith("# "), `${answer.url}: ${answer.status}`);
      }
      check(/^\d+\.\d+\.\d+/.test(await page.textContent("#version")), "There is no version.");
      await page.fill("#text", "Tea 🍵");
      same(await page.textContent("#length"), "5 characters", "characters");
    });
  },

  async controls_stay_in_view_and_direction_follows_the_text() {
    await withPage(async ({ page }) => {
      for (const [name, width, height] of [["phone", 390, 600], ["double", 640, 400]]) {
        await page.setViewportSize({ width, height });
        await page.fill("#text", TEXT.repeat(8));
        await page.evaluate(() => scrollTo(0, 0));
        const { bottom } = await page.evaluate(() => document.getElementById("speak").getBoundingClientRect());
        check(bottom <= height, `At ${width} × ${height}, Speak ends at ${bottom}.`);
        await picture(page, name);
      }
      await page.fill("#text", "مرحبا بالعالم");
      same(await page.evaluate(() => getComputedStyle(document.getElementById("text")).direction), "rtl", "direction");
      await page.setViewportSize({ width: 1280, height: 900 });
      await picture(page, "rtl");
    });
  },

  async forced_colors_keep_the_lit_word_and_calm_waves_stand() {
    await withPage(async ({ page }) => {
      await page.emulateMedia({ forcedColors: "active", reducedMotion: "reduce" });
      await page.fill("#text", TEXT);
      await page.click("#speak");
      await page.waitForSelector("#reader .now");
      const colors = await page.evaluate(() => {
        const { backgroundColor } = getComputedStyle(document.querySelector("#reader .now"));
        return [backgroundColor, getComputedStyle(document.body).backgroundColor];
      });
      check(colors[0] !== colors[1] && !/, 0\)/.test(colors[0]), `The lit word is ${colors[0]} on ${colors[1]}.`);
      await picture(page, "forced");
    });
  },

  async pictures_of_both_schemes() {
    await withPage(async ({ page }) => {
      for (const [colorScheme, width] of [["light", 1280], ["dark", 1280], ["light", 390], ["dark", 390]]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 900 });
        await page.reload();
        await picture(page, `${colorScheme}-${width}-idle`);
        await page.click("#speak");
        await page.waitForFunction(() => document.querySelectorAll("#reader .said").length > 8);
        await page.click("#cut");
        await page.waitForSelector("#outage:not([hidden])");
        await picture(page, `${colorScheme}-${width}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        check(wide <= 0, `At ${width} px, the page is ${wide} px too wide.`);
      }
    });
  },
};

async function picture(page, name) {
  const folder = process.env.ALOUD_TEST_PICTURES;
  if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage: !/phone|double/.test(name) });
}

async function withPage(use) {
  const server = await serve(binary, "--listen=127.0.0.1:0");
  const browser = await browse(PLAYS);
  try {
    browser.context.setDefaultTimeout(8_000);
    const { page, complaints } = await open(browser.context, server.url);
    await use({ page, server });
    const isClean = complaints.every((complaint) => complaint.includes("ERR_CONNECTION_REFUSED"));
    check(isClean, `complaints: ${complaints}`);
  } finally {
    await browser.close();
    await server.stop();
  }
}

await perform(scenarios, wanted);
