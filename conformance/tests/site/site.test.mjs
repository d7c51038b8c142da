// The site that `conformance site` makes, as a reader has it: from files, in Chromium. SITE is its directory, SHOTS that of the pictures.
import assert from "node:assert/strict";
import { readFileSync, readdirSync, mkdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import Ajv from "ajv/dist/2020.js";
import { chromium } from "playwright-core";

const SITE = resolve(process.env.SITE);
const SHOTS = resolve(process.env.SHOTS);
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
let browser;
before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
});
after(() => browser?.close());

const address = (name) => pathToFileURL(join(SITE, name)).href;
const pages = readdirSync(SITE).filter((name) => name.endsWith(".html"));
const claims = readdirSync(join(SITE, "claim")).map((name) => `claim/${name}`);

/** Opens a page, lets `look` look at it, and fails on an error of the page, its console or a request. */
async function open(name, look, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const errors = [];
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("requestfailed", (request) => errors.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("request", (request) => request.url().startsWith("file:") || request.url().startsWith("data:") || errors.push(`it asks for ${request.url()}`));
  try {
    await page.goto(address(name));
    await look(page);
    assert.deepEqual(errors, [], name);
  } finally {
    await context.close();
  }
}

const button = (page, pair) => page.locator(`#pairs button[data-pair="${pair}"]`);

test("the slider shows what another kernel does", () =>
  open("index.html", async (page) => {
    const vsock = button(page, "memory to vsock socket");
    assert.equal(await page.locator("#release").textContent(), "Linux 7.3");
    assert.match(await vsock.textContent(), /shared$/);
    await page.locator("#kernel").focus();
    await page.keyboard.press("Home");
    assert.equal(await page.locator("#release").textContent(), "Linux 5.10");
    assert.match(await vsock.textContent(), /copied$/);
    assert.match(await button(page, "regular file to TLS socket").textContent(), /untried$/);
    assert.match(await button(page, "memory to /dev/null").textContent(), /taken$/);
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.locator("#release").textContent(), "Linux 6.1");
  }));

test("a pair shows every route, its claims, and has an address", () =>
  open("index.html", async (page) => {
    await page.locator("#kernel").fill("0");
    await button(page, "regular file to UDP socket").click();
    const row = page.locator("#pair tbody tr", { hasText: "sendfile" }).first();
    assert.match(await row.textContent(), /lost if the source changes/);
    assert.ok((await row.locator('a[href="claim/sendfile.udp.changed-later.html"]').count()) === 1);
    const hash = new URL(page.url()).hash;
    await page.goto("about:blank");
    await page.goto(address("index.html") + hash);
    assert.equal(await page.locator("#release").textContent(), "Linux 5.10");
    assert.equal(await button(page, "regular file to UDP socket").getAttribute("aria-pressed"), "true");
    await page.screenshot({ path: join(SHOTS, "pair.png"), fullPage: true });
  }));

test("the table says without scripts what it says with them", async () => {
  const read = (page) => page.locator("#pairs button").evaluateAll((all) => all.map((one) => [one.dataset.pair, one.className, one.textContent]));
  let [without, within] = [null, null];
  await open("index.html", async (page) => { without = await read(page); }, { javaScriptEnabled: false });
  await open("index.html", async (page) => { within = await read(page); });
  assert.equal(without.length, 70);
  assert.deepEqual(within, without);
});

test("search finds claims and statements, and the keyboard goes there", () =>
  open("claim/splice.ends.same-pipe.html", async (page) => {
    const first = async (text) => {
      await page.locator("#search").fill(text);
      await page.waitForFunction(() => /found/.test(document.getElementById("count").textContent));
      await page.waitForTimeout(0);
      return page.locator("#found a").first();
    };
    assert.equal(await (await first("S22")).textContent(), "S22");
    assert.equal(await (await first("tee same pipe EINVAL")).textContent(), "tee.ends.same-pipe");
    await first("tee pipe");
    await page.locator("#search").press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    assert.equal(await page.locator("#found a").nth(1).evaluate((link) => link === document.activeElement), true);
    await page.locator("#search").fill("no-such-word-anywhere");
    await page.waitForFunction(() => document.getElementById("count").textContent === "0 found");
    await first("tee same pipe EINVAL");
    await page.locator("#search").press("Enter");
    await page.waitForURL(/claim\/tee\.ends\.same-pipe\.html$/);
    assert.equal(await page.locator("h1").textContent(), "tee.ends.same-pipe");
  }));

test("every link leads somewhere", () => {
  const ids = new Map();
  const text = (name) => readFileSync(join(SITE, name), "utf8");
  const of = (name) => {
    if (!ids.has(name)) ids.set(name, new Set([...text(name).matchAll(/ id="([^"]*)"/g)].map(([, id]) => id)));
    return ids.get(name);
  };
  let number = 0;
  for (const name of [...pages, ...claims]) {
    for (const [, link] of text(name).matchAll(/ (?:href|src)="([^"]*)"/g)) {
      if (link.startsWith("data:")) continue;
      const [file, anchor] = link.split("#");
      const target = file === "" ? name : join(dirname(name), file);
      assert.ok(statSync(join(SITE, target), { throwIfNoEntry: false })?.isFile(), `${name}: ${link}`);
      assert.ok(!anchor || !target.endsWith(".html") || target === "index.html" || of(target).has(anchor), `${name}: ${link}`);
      number += 1;
    }
  }
  assert.ok(number > 10_000, `${number} links`);
  const known = new Set(claims);
  const cited = [...text("pairs.js").matchAll(/"([a-z0-9-]+(?:\.[a-z0-9-]+){2})"/g)].map(([, id]) => `claim/${id}.html`);
  assert.ok(cited.length > 20 && cited.every((name) => known.has(name)));
});

for (const colorScheme of ["light", "dark"]) {
  test(`every page is accessible, ${colorScheme}`, async () => {
    for (const name of [...pages, "claim/zerocopy.socket.vsock.html", claims[0]]) {
      await open(name, async (page) => {
        if (name === "index.html") await button(page, "regular file to TCP socket").click();
        await page.evaluate(AXE);
        // What only the colours can change is looked at again in the dark.
        const options = colorScheme === "dark" ? { runOnly: ["color-contrast"] } : {};
        const { violations } = await page.evaluate((options) => axe.run({ preload: false, resultTypes: ["violations"], ...options }), options);
        const found = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
        assert.deepEqual(found, [], name);
        if (["index.html", "claim/zerocopy.socket.vsock.html"].includes(name)) {
          await page.screenshot({ path: join(SHOTS, `${name.replace("/", "-")}-${colorScheme}.png`) });
        }
      }, { colorScheme });
    }
  });
}

test("a phone shows every page without moving sideways", async () => {
  for (const name of [...pages, "claim/zerocopy.socket.vsock.html"]) {
    await open(name, async (page) => {
      if (name === "index.html") await button(page, "regular file to TCP socket").click();
      const [wide, room] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
      assert.ok(wide <= room, `${name}: ${wide} of ${room}`);
      if (name === "index.html") await page.screenshot({ path: join(SHOTS, "phone.png"), fullPage: true });
    }, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
  }
});

test("sizes, and the time to the first screen", async (context) => {
  const bytes = (names) => names.reduce((sum, name) => sum + statSync(join(SITE, name)).size, 0);
  const [first, index] = [bytes(["index.html", "site.css", "site.js", "pairs.js"]), bytes(["search.js"])];
  assert.ok(first <= 200_000, `${first} bytes before the first search`);
  assert.ok(index <= 1_000_000, `${index} bytes of index`);
  await open("index.html", async (page) => {
    const time = await page.evaluate(() => Math.round(performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd));
    // Printed only: no test is decided by a clock.
    context.diagnostic(`first screen ${first} bytes, usable after ${time} ms; index ${index} bytes`);
  });
});

test("claims.json is as its schema says, and has what the pages have", () => {
  const [data, schema] = ["claims.json", "claims.schema.json"].map((name) => JSON.parse(readFileSync(join(SITE, name), "utf8")));
  const valid = new Ajv({ strict: true, allowUnionTypes: true }).compile(schema);
  assert.ok(valid(data), JSON.stringify(valid.errors?.slice(0, 3)));
  assert.deepEqual(data.claims.map((claim) => `claim/${claim.id}.html`).sort(), [...claims].sort());
  const names = new Set(data.environments.map((one) => one.name));
  for (const claim of data.claims) {
    const all = claim.results.flatMap((result) => result.environments);
    assert.equal(new Set(all).size, all.length, claim.id);
    assert.ok(all.every((name) => names.has(name)), claim.id);
  }
  assert.ok(data.claims.some((claim) => claim.changes.length > 0));
  const spoilt = structuredClone(data);
  spoilt.claims[0].results[0].verdict = "perhaps";
  assert.ok(!valid(spoilt));
});
