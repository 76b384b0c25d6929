// The filter over the requests. Without scripts the page is whole, only longer.
const filter = document.getElementById("filter");
const articles = [...document.querySelectorAll("article[data-operation]")];
const texts = new Map(articles.map((article) => [article.dataset.operation, article.textContent.toLowerCase()]));

function show() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const element of document.querySelectorAll("[data-operation]")) {
    const text = texts.get(element.dataset.operation);
    element.hidden = !words.every((word) => text.includes(word));
  }
  for (const part of document.querySelectorAll(".contents > ul > li, main > section")) {
    const entries = [...part.querySelectorAll("[data-operation]")];
    part.hidden = words.length > 0 && entries.every((entry) => entry.hidden);
  }
}

filter.hidden = false;
filter.addEventListener("input", show);
