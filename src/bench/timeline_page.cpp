#include "bench/timeline_page.hpp"

#include <fmt/format.h>

#include "bench/drawing.hpp"
#include "sherd/bench/timeline.hpp"

namespace sherd::bench {
namespace {

constexpr std::size_t most_rectangles = 12'000;  // about a megabyte

}  // namespace

std::string page(const Timeline& timeline) {
  const std::string title = escaped(timeline.title);
  return fmt::format(
             "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width\">\n"
             "<title>Memory of one step: {0}</title>\n<style>{1}</style>\n</head>\n<body>\n"
             "<h1>Memory of one step: {0}</h1>\n"
             "<p>{2} steps of the program in issue order, from left to right; the bytes of a "
             "rank's arenas upwards. Point at a rectangle to see the buffer; drag to zoom; "
             "double-click to see all.</p>\n<div id=\"keys\"></div>\n<div id=\"tip\"></div>\n",
             title, page_style, timeline.steps.size()) +
         "<script type=\"application/json\" id=\"data\">" +
         to_json(thinned(timeline, most_rectangles)) + "</script>\n<script>" + page_script +
         "</script>\n</body>\n</html>\n";
}

}  // namespace sherd::bench
