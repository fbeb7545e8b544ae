// Applies the colour scheme that the user chose in this tab, before the page is drawn.
{
  const scheme = sessionStorage.getItem("hookgate.scheme");
  if (scheme === "light" || scheme === "dark") document.documentElement.dataset.scheme = scheme;
}
