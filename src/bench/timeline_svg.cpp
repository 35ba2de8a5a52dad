#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "bench/drawing.hpp"
#include "sherd/bench/timeline.hpp"

namespace sherd::bench {
namespace {

using namespace svg_style;

constexpr double full = 900, from = 96, until = full - 20, top = 66, high = 230, gap = 62;
constexpr std::size_t most_rectangles = 1500;
constexpr std::array<const char*, memory::uses> colours = {
    "#2f6fab", "#c1553b", "#5b8c3a", "#8a63b8", "#c08a1e", "#2f9494", "#8c8c94", "#8c8c94"};

std::string legend(double y) {
  std::string body;
  double x = 20;
  for (std::size_t use = 0; use < colours.size(); ++use) {
    const std::string name(name_of(static_cast<memory::Use>(use)));
    if (name == "runtime") continue;
    body += svg_box(x, y, 12, 12, colours[use]) + svg_text(x + 17, y + 10.5, small, name);
    x += 40 + 6.4 * static_cast<double>(name.size());
  }
  return body;
}

// Words in lines of about `most` letters.
std::vector<std::string> lines_of(const std::string& words, std::size_t most) {
  std::vector<std::string> lines(1);
  std::istringstream in(words);
  for (std::string word; in >> word;) {
    if (!lines.back().empty() && lines.back().size() + word.size() > most) lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : " ") + word;
  }
  return lines;
}

/// One tier's rectangles below `y`.
class Chart {
 public:
  Chart(const Timeline& timeline, const TierTimeline& tier, double y)
      : timeline_(timeline), tier_(tier), y_(y) {}

  [[nodiscard]] std::string draw() const {
    std::string body = svg_text(
        20, y_ - 8, at_end, fmt::format("{}: {}", name_of(tier_.tier), format_bytes(tier_.arena)));
    body += svg_box(from, y_, until - from, high, "#f6f8fa");
    for (const TimelineBuffer& buffer : tier_.buffers) body += rectangle(buffer);
    for (int i = 0; i <= 2; ++i) {
      const Bytes at = tier_.arena * static_cast<Bytes>(i) / 2;
      body += svg_text(from - 8, y_of(at) + 4, right_small, format_bytes(at));
    }
    for (const plan::Phase& phase : timeline_.phases) body += border(phase);
    const double peak = x_of(tier_.peak_step) + 0.5;
    return body + line(peak, "#24292f", "1.5", "") +
           svg_text(peak > until - 60 ? peak - 36 : peak + 6, y_ + 14, on_bytes, "peak");
  }

 private:
  static constexpr const char* on_bytes =
      "fill=\"#24292f\" font-size=\"12\" paint-order=\"stroke\" stroke=\"#ffffff\" "
      "stroke-width=\"4\"";
  static constexpr const char* right_small =
      "fill=\"#57606a\" font-size=\"12\" text-anchor=\"end\"";
  [[nodiscard]] double x_of(std::uint32_t step) const {
    return from + (until - from) * step / static_cast<double>(timeline_.steps.size());
  }
  [[nodiscard]] double y_of(Bytes at) const {
    return y_ + high - high * static_cast<double>(at) / static_cast<double>(tier_.arena);
  }
  [[nodiscard]] std::string rectangle(const TimelineBuffer& b) const {
    const double x = x_of(b.born), w = x_of(b.dies + 1) - x, y = y_of(b.offset + b.size),
                 h = y_of(b.offset) - y;
    if (w < 0.5 || h < 0.5) return {};
    return fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\" "
        "stroke=\"#f6f8fa\" stroke-width=\"0.4\"><title>{}, {}, steps {} to {}</title></rect>\n",
        x, y, w, h, colours[static_cast<std::size_t>(b.use)], escaped(b.name), format_bytes(b.size),
        b.born, b.dies);
  }
  [[nodiscard]] std::string line(double x, const char* colour, const char* thick,
                                 const char* dashes) const {
    return fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" stroke=\"{3}\" "
        "stroke-width=\"{4}\"{5}/>\n",
        x, y_, y_ + high + 16, colour, thick, dashes);
  }
  [[nodiscard]] std::string border(const plan::Phase& phase) const {
    const double x = x_of(phase.first);
    std::string body = line(x, "#57606a", "1", " stroke-dasharray=\"4 3\"");
    if (x_of(phase.last) - x > 50) {
      const std::string times = phase.repeat > 1 ? fmt::format(" × {}", phase.repeat) : "";
      body += svg_text(x + 4, y_ + high + 14, small, phase.name + times);
    }
    return body;
  }

  const Timeline& timeline_;
  const TierTimeline& tier_;
  double y_;
};

}  // namespace

std::string draw(const Timeline& timeline) {
  const Timeline few = thinned(timeline, most_rectangles);
  const std::size_t comma = timeline.title.find(',');
  std::string body;
  double y = top - 14;
  if (comma != std::string::npos) {
    for (const std::string& line : lines_of(timeline.title.substr(comma + 1), 130)) {
      body += svg_text(20, y, small, line);
      y += 16;
    }
  }
  body += legend(y - 4);
  y += 46;
  for (const TierTimeline& tier : few.tiers) {
    body += Chart(few, tier, y).draw();
    y += high + gap;
  }
  return svg_frame(full, y - 24, "Memory of one step: " + timeline.title.substr(0, comma), body);
}

}  // namespace sherd::bench
