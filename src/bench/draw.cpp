#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sherd/bench/held.hpp"

namespace sherd::bench {
namespace {

constexpr double width = 760, left = 96, right = 108, row = 44, bar = 28, top = 92;

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '&') {
      safe += "&amp;";
    } else if (c == '<') {
      safe += "&lt;";
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string text(double x, double y, const char* style, const std::string& words) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, style, escaped(words));
}

std::string box(double x, double y, double w, double h, const char* colour) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x, y, w,
      h, colour);
}

constexpr const char* small = "fill=\"#57606a\" font-size=\"12\"";
constexpr const char* inside = "fill=\"#ffffff\" font-size=\"12\" text-anchor=\"middle\"";
constexpr const char* at_end = "fill=\"#24292f\" font-size=\"14\" font-weight=\"600\"";
constexpr const char* heading = "fill=\"#24292f\" font-size=\"17\" font-weight=\"600\"";
constexpr const char* before = "fill=\"#24292f\" font-size=\"14\" text-anchor=\"end\"";

std::string frame(double height, const std::string& title, const std::string& body) {
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
             "width=\"{0:.0f}\" height=\"{1:.0f}\" "
             "font-family=\"system-ui, Helvetica, Arial, sans-serif\">\n"
             "<title>{2}</title>\n",
             width, height, escaped(title)) +
         fmt::format("<rect width=\"{:.0f}\" height=\"{:.0f}\" rx=\"6\" fill=\"#ffffff\"/>\n",
                     width, height) +
         text(20, 34, heading, title) + body + "</svg>\n";
}

struct Part {
  const char* name;
  const char* colour;
  Bytes HeldBytes::Stage::*bytes;
};
constexpr std::array<Part, 4> parts = {
    {{"parameters", "#2f6fab", &HeldBytes::Stage::params},
     {"gradients", "#c1553b", &HeldBytes::Stage::grads},
     {"optimizer", "#5b8c3a", &HeldBytes::Stage::optimizer},
     {"during a step: activations, gathered copies", "#8c8c94", &HeldBytes::Stage::transient}}};

std::string legend() {
  std::string body;
  double x = 20;
  for (const Part& part : parts) {
    body += box(x, 54, 12, 12, part.colour) + text(x + 18, 64.5, small, part.name);
    x += 46 + 6.4 * static_cast<double>(std::string(part.name).size());
  }
  return body;
}

}  // namespace

std::string draw(const HeldBytes& held) {
  Bytes most = 1;
  for (const HeldBytes::Stage& stage : held.stages) most = std::max(most, stage.total());
  const double scale = (width - left - right) / static_cast<double>(most);
  std::string body = legend();
  double y = top;
  for (std::size_t s = 0; s < held.stages.size(); ++s, y += row) {
    body += text(left - 12, y + 19, before, fmt::format("stage {}", s));
    double x = left;
    for (const Part& part : parts) {
      const Bytes bytes = held.stages[s].*part.bytes;
      const double w = static_cast<double>(bytes) * scale;
      body += box(x, y, w, bar, part.colour);
      if (w > 74) body += text(x + w / 2, y + 18.5, inside, format_bytes(bytes));
      x += w;
    }
    body += text(x + 10, y + 19, at_end, format_bytes(held.stages[s].total()));
  }
  return frame(y + 12, "Planned bytes of one rank: " + held.title, body);
}

std::string draw(std::span<const Row> rows, const std::string& title) {
  constexpr double names = 250;
  const double scale = width - names - right;
  std::string body;
  double y = top - 32;
  for (const Row& one : rows) {
    if (one.bound <= 0) continue;
    body += text(names - 12, y + 19, before, one.name);
    body += box(names, y, scale, bar, "#eaeef2");
    body += box(names, y, scale * std::clamp(one.of_bound(), 0.0, 1.0), bar, "#2f6fab");
    body += text(names + scale + 10, y + 19, at_end, fmt::format("{:.0f} %", one.of_bound() * 100));
    y += row;
  }
  body += text(names, y + 8, small, "part of the bound measured in the same run");
  return frame(y + 24, title, body);
}

}  // namespace sherd::bench
