#include "sherd/cli/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <string>

namespace sherd::cli {
namespace {

template <class... Values>
std::string print(const char* format, Values... values) {
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

std::string clock_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const auto whole = static_cast<long>(std::lround(std::clamp(seconds, 0.0, 1e8)));
  if (whole < 3600) return print("%ld:%02ld", whole / 60, whole % 60);
  return print("%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string rate_text(double tokens_per_second) {
  if (tokens_per_second >= 1e6) return print("%.2fM tok/s", tokens_per_second / 1e6);
  if (tokens_per_second >= 1e4) return print("%.1fk tok/s", tokens_per_second / 1e3);
  return print("%.0f tok/s", tokens_per_second);
}

std::string count_text(std::int64_t step, std::int64_t steps) {
  std::string text = std::to_string(step);
  if (steps > 0) (text += '/') += std::to_string(steps);
  return text;
}

}  // namespace

ProgressStyle progress_style(bool quiet) {
  if (quiet) return ProgressStyle::none;
  return isatty(STDERR_FILENO) != 0 ? ProgressStyle::bar : ProgressStyle::lines;
}

Progress::Progress(std::ostream& out, ProgressStyle style, std::int64_t steps)
    : out_(out), style_(style), steps_(steps) {}

void Progress::step(const StepEvent& event) {
  if (style_ == ProgressStyle::none) return;
  ++shown_;
  seconds_ += event.seconds;
  undrawn_ += event.seconds;
  if (style_ == ProgressStyle::lines) {
    out_ << "step " << count_text(event.step, steps_) << print("  loss %.4f", event.loss)
         << print("  grad norm %.3f  lr %.3g  ", event.grad_norm, event.lr)
         << rate_text(event.tokens_per_second) << (event.skipped ? "  skipped" : "") << std::endl;
    return;
  }
  constexpr double redraw = 0.05;  // seconds; a terminal shows no more
  if (open_ && undrawn_ < redraw && event.step != steps_) return;
  draw(event);
}

void Progress::draw(const StepEvent& event) {
  constexpr std::int64_t width = 24;
  const std::int64_t done =
      steps_ > 0 ? std::clamp<std::int64_t>(event.step * width / steps_, 0, width) : 0;
  const double left = static_cast<double>(std::max<std::int64_t>(steps_ - event.step, 0));
  std::string bar(static_cast<std::size_t>(width), '.');
  std::fill_n(bar.begin(), done, '#');
  out_ << "\r\x1b[K[" << bar << "] step " << count_text(event.step, steps_)
       << print("  loss %.4f  ", event.loss) << rate_text(event.tokens_per_second);
  if (steps_ > 0)
    out_ << "  " << clock_text(left * seconds_ / static_cast<double>(shown_)) << " left";
  if (event.skipped) out_ << "  skipped";
  out_ << std::flush;
  undrawn_ = 0;
  open_ = true;
}

void Progress::eval(const EvalEvent& event) {
  if (style_ == ProgressStyle::none) return;
  finish();
  out_ << "step " << event.step << print("  held-out loss %.4f", event.loss) << std::endl;
}

void Progress::saved(const CheckpointEvent& event) {
  if (style_ == ProgressStyle::none) return;
  finish();
  out_ << "step " << event.step << "  saved " << event.path << " (" << format_bytes(event.bytes)
       << print(", training waited %.2f s)", event.stall_seconds) << std::endl;
}

void Progress::finish() {
  if (open_) out_ << std::endl;
  open_ = false;
}

}  // namespace sherd::cli
