// Drives the explorer's pages in headless Chromium and compares what it sees with Python.
//
//     node explorer.mjs CONFIG.json
//
// tools/check_explorer.py writes CONFIG.json: the pages' addresses, the node_modules with
// playwright-core and axe-core, and what Python computes. Exits with 1 at the first difference.

import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const require = createRequire(path.join(config.modules, "package.json"));
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const WIDE = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
const NARROWEST = { width: 320, height: 640 };
// Rows and columns of the faces' mouths in 32 x 32 pixels.
const MOUTH = { top: 20, bottom: 27, left: 9, right: 23 };
const MIB = 2 ** 20;

const browser = await chromium.launch({
  executablePath: config.chromium,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

/** Opens a page; its console errors, and requests to anywhere but loopback, end up in `wrong`. */
async function open(url, { viewport = WIDE, colorScheme = "light", ready = true } = {}) {
  const context = await browser.newContext({ viewport, colorScheme });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("request", (request) => {
    const { protocol, hostname } = new URL(request.url());
    const inside = ["data:", "blob:"].includes(protocol) || hostname === "127.0.0.1";
    if (!inside) wrong.push(`a request to ${request.url()}`);
  });
  await page.goto(url);
  if (ready) {
    await page.waitForSelector("html[data-ready]", { timeout: 60000 }).catch(async () => {
      throw new Error(`${url} does not start: ${await page.textContent("#error")} ${wrong}`);
    });
  }
  return { page, context, wrong };
}

/** The bytes of a canvas, RGBA, once all frames asked for are drawn. */
async function pixels(page, id) {
  return page.evaluate(async (id) => {
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    await window.tfvae.scene.frame;
    const canvas = document.getElementById(id);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return Array.from(data);
  }, id);
}

/** Channels 0 to 2 of RGBA bytes, or channel 0 for a grey picture. */
function flat(rgba, channels) {
  return rgba.filter((_, i) => i % 4 < channels);
}

function largestDifference(a, b) {
  assert.equal(a.length, b.length);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

async function setSeed(page, seed) {
  await page.fill("#seed", String(seed));
  await page.press("#seed", "Enter");
  await page.waitForFunction(
    (text) => document.getElementById("caption").textContent === text,
    `from seed ${seed}`,
  );
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

async function checkSeeds(page, { seeds, pictures }, channels) {
  let most = 0;
  for (const [i, seed] of seeds.entries()) {
    await setSeed(page, seed);
    const shown = flat(await pixels(page, "picture"), channels);
    most = Math.max(most, largestDifference(shown, pictures[i]));
  }
  // Both are whole grey levels, and a last bit may round to the other side.
  assert.ok(most <= 1, `a picture of a seed is ${most} grey levels from Python's`);
  return `${seeds.length} seeds, at most ${most}/255 from Python`;
}

async function checkSmile(page, seeds) {
  const slider = page.getByRole("slider", { name: "smile", exact: true });
  const means = { mouth: [], rest: [] };
  let heldMost = 0;
  for (const seed of seeds) {
    await setSeed(page, seed);
    await slider.press("Home");
    const before = await pixels(page, "picture");
    const held = await page.evaluate(() => window.tfvae.scene.sliders.map(({ read }) => read()));
    await slider.press("End");
    const after = await pixels(page, "picture");
    const moved = await page.evaluate(() => window.tfvae.scene.sliders.map(({ read }) => read()));
    const count = await page.evaluate(() => window.tfvae.attributes.all.length);
    for (let k = 1; k < count; k++) {
      const range = await page.evaluate((k) => window.tfvae.attributes.all[k].range, k);
      const share = Math.abs(moved[k] - held[k]) / (range[1] - range[0]);
      // From end to end a reading that bends is followed in steps, so others stay to a few per cent.
      heldMost = Math.max(heldMost, share);
      assert.ok(share < 0.1, `a smile moves attribute ${k} by ${share} of its range`);
    }
    assert.ok(moved[0] - held[0] > 1.5, `the smile goes from ${held[0]} to ${moved[0]} only`);
    const change = { mouth: [], rest: [] };
    before.forEach((value, i) => {
      const [row, column] = [Math.floor(i / 128), Math.floor(i / 4) % 32];
      const inMouth =
        row >= MOUTH.top && row < MOUTH.bottom && column >= MOUTH.left && column < MOUTH.right;
      if (i % 4 < 3) change[inMouth ? "mouth" : "rest"].push(Math.abs(value - after[i]));
    });
    for (const part of ["mouth", "rest"]) {
      means[part].push(change[part].reduce((sum, value) => sum + value, 0) / change[part].length);
    }
    const [mouth, rest] = [means.mouth.at(-1), means.rest.at(-1)];
    assert.ok(mouth > 3 && mouth > 2 * rest, `seed ${seed}: mouth ${mouth}, rest ${rest} levels`);
  }
  const [mouth, rest] = [median(means.mouth), median(means.rest)];
  return (
    `a smile changes the mouth by ${mouth.toFixed(1)} grey levels, the rest by ` +
    `${rest.toFixed(1)} (medians); other readings by at most ${(100 * heldMost).toFixed(1)} %`
  );
}

/** Readings and moves are those of tfvae.latent. */
async function checkReadings(page, expected) {
  let most = 0;
  let spreadMost = 0;
  const examples = await page.locator(".example").all();
  assert.equal(examples.length, expected.readings.length);
  for (const [i, example] of examples.entries()) {
    await example.click();
    await page.waitForFunction(
      (name) => window.tfvae.posterior.name === name,
      `example ${i + 1}`,
    );
    const { readings, spread } = await page.evaluate(() => ({
      readings: window.tfvae.posterior.readings,
      spread: Array.from(window.tfvae.posterior.spread),
    }));
    expected.readings[i].forEach((wanted, k) => {
      for (const part of ["mean", "low", "high"]) {
        // A probability lies in [0, 1]; a label is measured in standard deviations of its reading.
        const unit = expected.binary[k] ? 1 : wanted.scale;
        most = Math.max(most, Math.abs(readings[k][part] - wanted[part]) / unit);
      }
    });
    spreadMost = Math.max(spreadMost, largestDifference(spread, expected.spreads[i]));
  }
  assert.ok(most < 2e-3, `a reading is ${most} standard deviations from Python's`);
  assert.ok(spreadMost < 1e-4, `an uncertainty is ${spreadMost} from Python's`);
  const moved = await page.evaluate(
    (moves) => moves.map(({ k, z, amount }) => Array.from(window.tfvae.attributes.move(k, z, amount))),
    expected.moves,
  );
  const moveMost = Math.max(...expected.moves.map(({ to }, i) => largestDifference(to, moved[i])));
  assert.ok(moveMost < 1e-3, `a moved code is ${moveMost} from Python's`);
  return (
    `readings at most ${most.toExponential(1)} standard deviations from Attribute.read, ` +
    `uncertainty ${spreadMost.toExponential(1)}, moved codes ${moveMost.toExponential(1)}`
  );
}

async function checkUpload(page, file) {
  const example = await (async () => {
    await page.locator(".example").first().click();
    await page.waitForFunction(() => window.tfvae.posterior.name === "example 1");
    return pixels(page, "own-seen");
  })();
  await page.locator(".example").nth(1).click();
  await page.waitForFunction(() => window.tfvae.posterior.name === "example 2");
  await page.setInputFiles("#own-file", file);
  await page.waitForFunction(() => window.tfvae.posterior.name.endsWith(".png"));
  assert.equal(largestDifference(await pixels(page, "own-seen"), example), 0);
  await page.click("#own-explore");
  await pixels(page, "picture");
  assert.match(await page.textContent("#caption"), /\.png$/);
  return "an uploaded picture is seen as it is";
}

async function checkBlend(page) {
  const range = page.getByRole("slider", { name: "From A to B" });
  for (const [key, end, words] of [
    ["Home", "blend-a", "0 %"],
    ["End", "blend-b", "100 %"],
  ]) {
    await range.press(key);
    const difference = largestDifference(await pixels(page, "blend-mix"), await pixels(page, end));
    assert.ok(difference <= 1, `the blend at ${words} is ${difference} from its end`);
    assert.match(await range.getAttribute("aria-valuetext"), new RegExp(`^${words}`));
  }
  await page.click("#blend-set-a");
  const set = largestDifference(await pixels(page, "blend-a"), await pixels(page, "picture"));
  assert.ok(set <= 1, `A is ${set} from the picture that it was set to`);
  return "the blend ends at its pictures";
}

/** axe-core finds nothing: names, roles, contrast (at least 4.5, computed), landmarks, order. */
async function checkAxe(page) {
  await page.evaluate(() => (document.getElementById("about").open = true));
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  const found = violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => target + failureSummary)}`,
  );
  assert.deepEqual(found, []);
  const contrast = passes.find(({ id }) => id === "color-contrast");
  assert.ok(contrast?.nodes.length > 20, "the contrast of text was not measured");
  return contrast.nodes.length;
}

async function checkTabs(page) {
  const visible = await page.evaluate(() => {
    document.activeElement?.blur();
    window.scrollTo(0, 0);
    const focusable = [...document.querySelectorAll("input, button, summary, a[href]")];
    const shown = focusable.filter((element) => element.checkVisibility());
    shown.forEach((element, i) => (element.dataset.order = i));
    return shown.length;
  });
  const order = [];
  for (let i = 0; i < visible; i++) {
    await page.keyboard.press("Tab");
    order.push(await page.evaluate(() => Number(document.activeElement.dataset.order)));
  }
  assert.deepEqual(order, [...Array(visible).keys()]);
  return visible;
}

async function checkArrows(page) {
  const sliders = await page.getByRole("slider").all();
  for (const slider of sliders) {
    await slider.press("Home");
    await pixels(page, "picture");
    const before = [await slider.inputValue(), await slider.getAttribute("aria-valuetext")];
    for (let i = 0; i < 3; i++) await slider.press("ArrowRight");
    await pixels(page, "picture");
    const after = [await slider.inputValue(), await slider.getAttribute("aria-valuetext")];
    assert.ok(Number(after[0]) > Number(before[0]), "an arrow key does not move a slider");
    assert.ok(after[1] && before[1], "a slider does not say its value");
  }
  return sliders.length;
}

async function checkMemory(page) {
  const session = await page.context().newCDPSession(page);
  const weigh = async () => {
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    const wasm = await page.evaluate(async () => {
      const { getGlobalLiteRt } = await import("./litert/index.js");
      return getGlobalLiteRt().liteRtWasm.HEAPU8.length;
    });
    return { usedSize, wasm };
  };
  const move = (times) =>
    page.evaluate(async (times) => {
      const inputs = document.querySelectorAll(".slider input");
      for (let i = 0; i < times; i++) {
        const input = inputs[i % inputs.length];
        const [low, high] = [Number(input.min), Number(input.max)];
        input.value = low + ((i * 0.37) % 1) * (high - low);
        input.dispatchEvent(new Event("input", { bubbles: true }));
        await window.tfvae.scene.frame;
      }
    }, times);
  await move(50);
  const before = await weigh();
  await move(500);
  const after = await weigh();
  const [heap, wasm] = [after.usedSize - before.usedSize, after.wasm - before.wasm];
  assert.ok(heap < MIB && wasm === 0, `500 moves cost ${heap} bytes of heap, ${wasm} of wasm`);
  return `500 moves: heap ${(heap / 1024).toFixed(0)} KiB, wasm ${wasm} bytes more`;
}

/** Times from a key's event to the pixels on the canvas. Printed, not judged. */
async function measureFrames(page) {
  await page.evaluate(() => {
    window.frames_ = [];
    new PerformanceObserver((list) =>
      list.getEntries().forEach(({ duration }) => window.frames_.push(duration)),
    ).observe({ type: "measure" });
  });
  const slider = page.getByRole("slider", { name: /^(smile|dimension \d+)$/ }).first();
  await slider.press("Home");
  for (let i = 0; i < 150; i++) {
    await slider.press("ArrowRight");
    await page.evaluate(() => window.tfvae.scene.frame);
  }
  await pixels(page, "picture");
  const times = (await page.evaluate(() => window.frames_)).sort((a, b) => a - b);
  assert.ok(times.length >= 150, `only ${times.length} frames for 150 steps`);
  const at = (share) => times[Math.floor(share * (times.length - 1))].toFixed(1);
  return `event to pixels: median ${at(0.5)} ms, 95 % ${at(0.95)} ms, of ${times.length}`;
}

async function checkWidths(page) {
  for (const viewport of [PHONE, NARROWEST]) {
    await page.setViewportSize(viewport);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= viewport.width, `${width} pixels wide on a screen of ${viewport.width}`);
  }
}

/** What holds for every page; draws it wide and on a phone, light and dark. */
async function checkLooks(name, url) {
  for (const [size, viewport] of Object.entries({ wide: WIDE, phone: PHONE })) {
    for (const colorScheme of ["light", "dark"]) {
      const { page, context, wrong } = await open(url, { viewport, colorScheme });
      const file = path.join(config.screenshots, `${name}-${size}-${colorScheme}.png`);
      await page.screenshot({ path: file, fullPage: true });
      const texts = await checkAxe(page);
      const stops = await checkTabs(page);
      const sliders = await checkArrows(page);
      if (size === "phone") await checkWidths(page);
      assert.deepEqual(wrong, []);
      console.log(
        `${name}, ${size}, ${colorScheme}: axe finds nothing (contrast of ${texts} texts), ` +
          `tab reaches ${stops} controls, arrows move ${sliders} sliders`,
      );
      await context.close();
    }
  }
}

async function checkFaces({ url, expected, upload }) {
  const { page, context, wrong } = await open(url);
  const say = (line) => console.log(`faces: ${line}`);
  say(await checkSeeds(page, expected, 3));
  say(await checkSmile(page, expected.seeds.slice(0, 5)));
  say(await checkReadings(page, expected));
  say(await checkUpload(page, upload));
  say(await checkBlend(page));
  say(await measureFrames(page));
  say(await checkMemory(page));
  const before = await page.inputValue("#seed");
  for (let i = 0; i < 5 && (await page.inputValue("#seed")) === before; i++) await page.click("#new");
  const seed = await page.inputValue("#seed");
  assert.notEqual(seed, before);
  await page.waitForFunction(() => document.getElementById("status").textContent !== "");
  assert.equal(await page.textContent("#status"), `New face: seed ${seed}`);
  assert.deepEqual(wrong, []);
  await context.close();
}

async function checkDigits({ url, expected }) {
  const { page, context, wrong } = await open(url);
  console.log(`digits: ${await checkSeeds(page, expected, 1)}`);
  console.log(`digits: ${await checkReadings(page, expected)}`);
  const box = await page.locator("#pad").boundingBox();
  await page.locator("#pad").scrollIntoViewIfNeeded();
  const { x, y } = (await page.locator("#pad").boundingBox()) ?? box;
  await page.mouse.move(x + box.width / 2, y + 0.15 * box.height);
  await page.mouse.down();
  await page.mouse.move(x + box.width / 2, y + 0.85 * box.height, { steps: 8 });
  await page.mouse.up();
  await page.waitForFunction(() => window.tfvae.posterior.name === "your drawing");
  const drawn = flat(await pixels(page, "own-seen"), 1);
  assert.ok(Math.max(...drawn) > 100 && Math.min(...drawn) === 0, "the drawing is not seen");
  assert.deepEqual(wrong, []);
  await context.close();
  console.log("digits: a drawing is read");
}

async function checkAutoencoder({ url }) {
  const { page, context, wrong } = await open(url);
  assert.equal(await page.isVisible("#seeds"), false);
  assert.equal(await page.isVisible("#own-spread-figure"), false);
  await page.click("#about summary");
  assert.match(await page.textContent("#left-out"), /No seeds: .*No uncertainty: /s);
  assert.deepEqual(wrong, []);
  await context.close();
  console.log("autoencoder: the page says what it cannot do");
}

/** Errors are shown: a file that is no picture, and a page without its runtime. */
async function checkErrors({ url, bare, notPicture }) {
  const { page, context } = await open(url);
  await page.setInputFiles("#own-file", notPicture);
  await page.getByRole("alert").waitFor();
  assert.match(await page.textContent("#error"), /not a picture that the browser can open/);
  await context.close();
  const without = await open(bare, { ready: false });
  await without.page.getByRole("alert").waitFor();
  assert.match(await without.page.textContent("#error"), /LiteRT\.js is not in this folder.*tfvae explore/);
  await without.context.close();
  console.log("errors are shown");
}

try {
  await checkFaces(config.faces);
  await checkDigits(config.digits);
  await checkAutoencoder(config.autoencoder);
  await checkErrors(config.errors);
  for (const name of ["faces", "digits", "autoencoder"]) await checkLooks(name, config[name].url);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
}
