// The words of the page in Korean. words-en.js has the same keys.
export default {
  connected: "실시간",
  disconnected: "edged에 연결되지 않았습니다. 다시 시도하는 중",
};
