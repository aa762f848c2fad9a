// What an owner should look at first: cameras and answers that are wrong, and alerts that are on. Pure, but for the time.
import { alertText, answerState, hasAlert, valueText } from "./answer.js";
import { whyNotCurrent } from "./picture.js";

/** Items {key, kind: "problem" | "alert", camera, text, reason} of a camera whose picture on the page is `frame`. */
export function attention(camera, frame) {
  return [...alerts(camera), ...problems(camera, frame)].map((item) => ({ ...item, camera }));
}

function alerts(camera) {
  return camera.questions.filter(hasAlert).map((question) => {
    const now = answerState(question, camera);
    const value = now.current ? valueText(question, question.answer.value) : now.text;
    return { key: `alert ${question.name}`, kind: "alert", text: `${question.title}: ${value}`, reason: alertText(question) };
  });
}

/** The camera if it is wrong, or else each of its questions that is: nothing is said twice. */
function problems(camera, frame) {
  const why = whyNotCurrent(camera, frame);
  if (why?.level === "bad") return [{ key: "camera", kind: "problem", text: why.text, reason: why.reason }];
  return camera.questions
    .map((question) => ({ question, now: answerState(question, camera) }))
    .filter(({ now }) => now.level === "bad")
    .map(({ question, now }) => ({
      key: `answer ${question.name}`, kind: "problem", text: `${question.title}: ${now.text}`, reason: now.detail,
    }));
}
