// Puts the page together.

import { Attributes } from "./attributes.js";
import { Blend } from "./blend.js";
import { Engine } from "./engine.js";
import { OwnImage } from "./own_image.js";
import { PosteriorView } from "./posterior.js";
import { Scene } from "./scene.js";

// Short enough to be told to a neighbour.
const NUM_SEEDS = 10000;

const byId = (id) => document.getElementById(id);

function say(text) {
  byId("status").textContent = text;
}

/** Errors are shown, and told to screen readers; the console gets their stack. */
function showError(error) {
  byId("error").textContent = error.message || String(error);
  byId("error").hidden = false;
  say("");
  console.error(error);
}

async function get(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: the server answers ${response.status}.`);
  return response;
}

async function start() {
  const page = await (await get("page.json")).json();
  document.title = page.title;
  byId("title").textContent = page.title;
  for (const element of document.querySelectorAll("[data-noun]")) {
    element.textContent = element.dataset.noun.replaceAll("%", page.noun);
  }
  const factors = new Int16Array(await (await get("attributes.bin")).arrayBuffer());
  const attributes = new Attributes(page, factors);
  const engine = await Engine.start(page);
  const scene = new Scene(page, engine, attributes, byId("picture"), byId("caption"), showError);
  scene.addSliders(byId("attribute-sliders"), byId("dimension-sliders"));
  byId("attributes").hidden = attributes.all.length === 0;
  if (attributes.all.some(({ hold }) => hold.length)) {
    byId("attributes-note").textContent += " The others stay where they are.";
  }
  tellLeftOut(page);
  tellAbout(page);
  const blend = new Blend(page, engine, scene, byId, showError);
  byId("reset").addEventListener("click", () => scene.undo());
  if (engine.can("sample")) await startFromSeeds(page, engine, scene, blend);
  else await startFromMiddle(page, scene, blend);
  const posterior = engine.can("encode") ? await startOwn(page, engine, scene, attributes) : null;
  // For programs that drive the page, and for the curious at the console.
  window.tfvae = { page, engine, scene, attributes, blend, posterior };
  say("");
  byId("explorer").hidden = false;
  document.documentElement.dataset.ready = "true";
}

async function startFromSeeds(page, engine, scene, blend) {
  const field = byId("seed");
  const showSeed = async (seed) => {
    const { z } = await engine.sample(seed);
    await scene.show(z, `seed ${seed}`);
  };
  field.addEventListener("change", () => {
    const seed = field.valueAsNumber;
    if (!Number.isInteger(seed) || !field.validity.valid) {
      field.reportValidity();
      return;
    }
    showSeed(seed).catch(showError);
  });
  byId("new").addEventListener("click", () => {
    field.value = Math.floor(NUM_SEEDS * Math.random());
    showSeed(field.valueAsNumber).then(() => say(`New ${page.noun}: seed ${field.value}`), showError);
  });
  byId("seeds").hidden = false;
  const [first, a, b] = page.seeds;
  field.value = first;
  await showSeed(first);
  await blend.set("a", (await engine.sample(a)).z);
  await blend.set("b", (await engine.sample(b)).z);
}

async function startFromMiddle(page, scene, blend) {
  await scene.show(page.start, "the middle of all codes");
  // Without a prior, the two ends differ along the most active dimension.
  const [{ index, range }] = page.dimensions;
  for (const [i, end] of ["a", "b"].entries()) {
    await blend.set(end, page.start.map((value, d) => (d === index ? range[i] : value)));
  }
}

async function startOwn(page, engine, scene, attributes) {
  byId("own").hidden = false;
  const posterior = new PosteriorView(page, engine, attributes, byId);
  const own = new OwnImage(page, posterior, byId, showError);
  byId("own-explore").addEventListener("click", () => scene.show(posterior.code, posterior.name));
  await own.offerExamples();
  return posterior;
}

function tellLeftOut(page) {
  const parts = { sample: "No seeds", encode: "No image of your own", uncertainty: "No uncertainty" };
  const found = Object.entries(page.left_out).map(([name, why]) => `${parts[name] ?? name}: ${why}`);
  const unread = Object.entries(page.attributes_left_out);
  found.push(...unread.map(([name, why]) => `No slider for ${name.replaceAll("_", " ")}: ${why}.`));
  for (const text of found) {
    const item = document.createElement("li");
    item.textContent = text;
    byId("left-out").append(item);
  }
  byId("left-out").hidden = found.length === 0;
}

function tellAbout(page) {
  const { model } = page;
  const facts = {
    model: `${model.class}, ${model.parameters.toLocaleString("en")} parameters`,
    pictures: page.data_shape.join(" × "),
    code: `${page.latent_size} numbers`,
    likelihood: model.likelihood,
    prior: model.prior ?? "none",
    data: page.about.data,
    "made with": `tfvae ${page.made_with.tfvae}`,
  };
  for (const [name, value] of Object.entries(facts)) {
    if (value === undefined) continue;
    const term = document.createElement("dt");
    term.textContent = name;
    const detail = document.createElement("dd");
    detail.textContent = value;
    byId("facts").append(term, detail);
  }
}

start().catch(showError);
