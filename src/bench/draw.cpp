#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bench/drawing.hpp"
#include "sherd/bench/held.hpp"

namespace sherd::bench {
namespace {

using namespace svg_style;

constexpr double width = 760, left = 96, right = 108, row = 44, bar = 28, top = 92;

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
    body += svg_box(x, 54, 12, 12, part.colour) + svg_text(x + 18, 64.5, small, part.name);
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
    body += svg_text(left - 12, y + 19, before, fmt::format("stage {}", s));
    double x = left;
    for (const Part& part : parts) {
      const Bytes bytes = held.stages[s].*part.bytes;
      const double w = static_cast<double>(bytes) * scale;
      body += svg_box(x, y, w, bar, part.colour);
      if (w > 74) body += svg_text(x + w / 2, y + 18.5, inside, format_bytes(bytes));
      x += w;
    }
    body += svg_text(x + 10, y + 19, at_end, format_bytes(held.stages[s].total()));
  }
  return svg_frame(width, y + 12, "Planned bytes of one rank: " + held.title, body);
}

std::string draw(std::span<const Row> rows, const std::string& title) {
  constexpr double names = 250;
  const double scale = width - names - right;
  std::string body;
  double y = top - 32;
  for (const Row& one : rows) {
    if (one.bound <= 0) continue;
    body += svg_text(names - 12, y + 19, before, one.name);
    body += svg_box(names, y, scale, bar, "#eaeef2");
    body += svg_box(names, y, scale * std::clamp(one.of_bound(), 0.0, 1.0), bar, "#2f6fab");
    body +=
        svg_text(names + scale + 10, y + 19, at_end, fmt::format("{:.0f} %", one.of_bound() * 100));
    y += row;
  }
  body += svg_text(names, y + 8, small, "part of the bound measured in the same run");
  return svg_frame(width, y + 24, title, body);
}

}  // namespace sherd::bench
