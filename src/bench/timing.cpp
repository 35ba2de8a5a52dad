#include "sherd/bench/timing.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "sherd/base/errors.hpp"

namespace sherd::bench {
namespace {

// Threads of the library's own pool spin for about a millisecond after a product.
constexpr auto settle = std::chrono::milliseconds(4);

double seconds_of(const Pass& pass) {
  std::this_thread::sleep_for(settle);
  const auto start = std::chrono::steady_clock::now();
  pass();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Timing summarize(std::vector<double> seconds) {
  expects(!seconds.empty(), "summarize: got no samples, need one or more");
  std::sort(seconds.begin(), seconds.end());
  const std::size_t half = seconds.size() / 2;
  const double median =
      seconds.size() % 2 == 1 ? seconds[half] : (seconds[half - 1] + seconds[half]) / 2;
  return {.median = median,
          .fastest = seconds.front(),
          .slowest = seconds.back(),
          .rounds = static_cast<int>(seconds.size())};
}

std::vector<Timing> alternate(int rounds, std::span<const Pass> passes) {
  expects(rounds >= 1, "alternate: got no rounds, need one or more");
  for (const Pass& pass : passes) pass();
  std::vector<std::vector<double>> samples(passes.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < passes.size(); ++i) samples[i].push_back(seconds_of(passes[i]));
  }
  std::vector<Timing> result;
  for (std::vector<double>& one : samples) result.push_back(summarize(std::move(one)));
  return result;
}

}  // namespace sherd::bench
