#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/drawing.hpp"
#include "sherd/bench/largest.hpp"

namespace sherd::bench {
namespace {

constexpr double width = 760, left = 330, right = 90, bar = 14, pitch = 19, top = 66;
constexpr double least = 7, most = 12;  // powers of ten

double x_of(double parameters) {
  const double power = std::clamp(std::log10(std::max(parameters, 1.0)), least, most);
  return left + (width - left - right) * (power - least) / (most - least);
}

std::string size_of(double parameters) {
  if (parameters <= 0) return "none";
  return parameters < 1e9 ? fmt::format("{:.0f} M", parameters / 1e6)
                          : fmt::format("{:.1f} B", parameters / 1e9);
}

std::string words_of(const LargestModel& one) {
  std::string words = one.placing.name();
  if (one.limits.host > 0) words += fmt::format(", host {} GiB", one.limits.host / gib);
  if (one.limits.file > 0) words += fmt::format(", file {} GiB", one.limits.file / gib);
  return words;
}

const char* colour_of(memory::Tier home) {
  return home == memory::Tier::device ? "#2f6fab"
         : home == memory::Tier::host ? "#5b8c3a"
                                      : "#c1553b";
}

}  // namespace

std::string draw(std::span<const LargestModel> all) {
  using namespace svg_style;
  std::vector<Bytes> devices;
  for (const LargestModel& one : all) devices.push_back(one.limits.device);
  std::sort(devices.begin(), devices.end());
  devices.erase(std::unique(devices.begin(), devices.end()), devices.end());
  constexpr const char* label = "fill=\"#24292f\" font-size=\"12\" text-anchor=\"end\"";
  std::string body;
  double y = top;
  for (const Bytes device : devices) {
    body += svg_text(20, y + 11, at_end, fmt::format("{} GiB a device", device / gib));
    y += pitch;
    for (const LargestModel& one : all) {
      if (one.limits.device != device) continue;
      const double end = x_of(one.parameters);
      body += svg_text(left - 10, y + 11, label, words_of(one));
      body += svg_box(left, y, std::max(end - left, 1.0), bar, colour_of(one.placing.home));
      body += svg_text(end + 8, y + 11.5, small, size_of(one.parameters));
      y += pitch;
    }
    y += 8;
  }
  body += svg_text(20, y + 10, small,
                   "Parameters, logarithmic from 10 M. GPT-2 shapes in bf16 with fp32 master and "
                   "moments, AdamW, recompute,");
  body += svg_text(20, y + 26, small,
                   "one sequence of 1024 tokens a rank, a CUDA device with its reserve. Planned, "
                   "not run.");
  return svg_frame(width, y + 40, "The largest model that trains", body);
}

}  // namespace sherd::bench
