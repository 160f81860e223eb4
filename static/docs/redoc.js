// Starts ReDoc.
(function () {
  "use strict";

  const place = document.getElementById("documentation");
  const fonts = { fontFamily: "system-ui, sans-serif", headings: { fontFamily: "system-ui, sans-serif" } };
  window.Redoc.init(place.dataset.document, { theme: { typography: fonts } }, place);
})();
