// The words of the page in English. words-ko.js has the same keys.
export default {
  connected: "Live",
  disconnected: "No connection to edged; trying again",
};
