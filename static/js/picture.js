// Choosing a picture: a square of it is cut out here, by mouse, finger or keys, and sent as a PNG of at most 512 × 512.

import { api, t } from "./api.js";
import { ask, place, say, sayNext } from "./ui.js";

const LARGEST = 512;

export async function takePicture(user, field) {
  try {
    if (field.files[0]) await cut(user, field.files[0]);
  } catch (problem) {
    say(problem.fields?.[0]?.message ?? problem.message, "problem");
  }
  field.value = "";
}

async function cut(user, file) {
  const picture = await createImageBitmap(file).catch(() => { throw new Error(t("account.picture_unreadable")); });
  const canvas = place("crop-canvas");
  const zoom = place("crop-zoom");
  const least = Math.min(picture.width, picture.height);
  const view = { x: picture.width / 2, y: picture.height / 2 };
  zoom.value = 1;

  // The square of the picture that is shown, kept inside of it.
  function square() {
    const side = least / Number(zoom.value);
    const inside = (middle, length) => Math.min(Math.max(middle, side / 2), length - side / 2);
    view.x = inside(view.x, picture.width);
    view.y = inside(view.y, picture.height);
    return [view.x - side / 2, view.y - side / 2, side, side];
  }
  function drawOn(target) {
    const context = target.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.clearRect(0, 0, target.width, target.height);
    context.drawImage(picture, ...square(), 0, 0, target.width, target.height);
  }
  function draw() {
    drawOn(canvas);
    drawOn(place("crop-preview"));
  }
  function move(x, y) {
    const [, , side] = square();
    view.x -= (x * side) / canvas.clientWidth;
    view.y -= (y * side) / canvas.clientHeight;
    draw();
  }

  canvas.onpointerdown = (event) => canvas.setPointerCapture(event.pointerId);
  canvas.onpointermove = (event) => { if (event.buttons) move(event.movementX, event.movementY); };
  canvas.onwheel = (event) => {
    event.preventDefault();
    zoom.value = Number(zoom.value) - Math.sign(event.deltaY) * 0.1;
    draw();
  };
  canvas.onkeydown = (event) => {
    const steps = { ArrowLeft: [10, 0], ArrowRight: [-10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] };
    if (steps[event.key]) move(...steps[event.key]);
    else if (event.key === "+" || event.key === "-") zoom.value = Number(zoom.value) + (event.key === "+" ? 0.1 : -0.1);
    else return;
    event.preventDefault();
    draw();
  };
  zoom.oninput = draw;
  draw();

  const answer = await ask("crop");
  if (answer === "yes") {
    const side = Math.max(16, Math.min(LARGEST, Math.round(square()[2])));
    const result = document.createElement("canvas");
    result.width = result.height = side;
    drawOn(result);
    const png = await new Promise((made) => result.toBlob(made, "image/png"));
    const form = new FormData();
    form.append("file", png, "picture.png");
    await api("PUT", `/user/${user}/image?resize=true`, { form });
    sayNext(t("account.saved"));
    location.reload();
  }
  picture.close();
}
