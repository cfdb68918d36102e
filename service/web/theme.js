// A classic script, so that the theme stands before the first paint.
(() => {
  const KEY = "enteron-theme";
  const system = matchMedia("(prefers-color-scheme: light)");
  const apply = () => {
    const chosen = localStorage.getItem(KEY);
    document.documentElement.dataset.theme = chosen ?? (system.matches ? "light" : "dark");
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#theme")) return;
    localStorage.setItem(KEY, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    apply();
  });
})();
