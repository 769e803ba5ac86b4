// What the theme leaves out for those who do not see a page, or use no mouse.
window.addEventListener("load", () => {
  const set = (selector, attributes, only = () => true) => {
    for (const each of [...document.querySelectorAll(selector)].filter(only)) {
      for (const [name, value] of Object.entries(attributes)) each.setAttribute(name, value);
    }
  };
  set(".caption[role=heading]", { "aria-level": "2" });
  set("#search-results > h2", { "aria-level": "1" });
  set(".sidebar-drawer", { "aria-label": "Pages" });
  set(".toc-drawer", { "aria-label": "On this page" });
  set(".content-icon-container", { role: "navigation", "aria-label": "This page" });
  set("th", { role: "cell" }, (each) => each.textContent.trim() === "");
  // What is wider than its place is moved sideways by the arrow keys.
  const isWider = (each) => each.scrollWidth > each.clientWidth;
  set('.highlight pre, .table-wrapper, article p:has(> img[src$=".svg"])', { tabindex: "0" }, isWider);
});
