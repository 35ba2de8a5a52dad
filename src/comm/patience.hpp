#pragma once
// How long a rank waits for the others.
#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

namespace sherd::comm {

inline constexpr std::chrono::nanoseconds slice = std::chrono::milliseconds(20);

/// A wait that counts only time in which this process ran and looked: a machine that was paused
/// condemns nobody.
class Patience {
 public:
  using Clock = std::chrono::steady_clock;
  explicit Patience(std::chrono::nanoseconds limit) : left_(limit), seen_(Clock::now()) {}
  bool exhausted() {
    const auto now = Clock::now();
    const std::chrono::nanoseconds gap = now - std::exchange(seen_, now);
    left_ -= gap > std::chrono::seconds(1) ? slice : gap;
    return left_ < std::chrono::nanoseconds::zero();
  }

 private:
  std::chrono::nanoseconds left_;
  Clock::time_point seen_;
};

/// `1.5 s`.
[[nodiscard]] inline std::string seconds_text(std::chrono::nanoseconds time) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g s", std::chrono::duration<double>(time).count());
  return text.data();
}

}  // namespace sherd::comm
