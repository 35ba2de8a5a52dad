#include "sherd/model/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sherd/base/errors.hpp"
#include "sherd/base/philox.hpp"

namespace sherd::model {
namespace {

// 53 bits: 24 would never reach the rarest of a large vocabulary.
double uniform(std::uint64_t seed, std::uint64_t position) {
  const PhiloxBlock bits = philox_block(philox(seed, Purpose::sample, {position}), 0);
  const std::uint64_t both = std::uint64_t{bits[0]} << 32 | bits[1];
  return static_cast<double>(both >> 11) * 0x1p-53;
}

std::string number(double value) {
  std::string text = std::to_string(value);
  text.erase(std::min(text.find_last_not_of('0') + 1, text.size()));
  if (text.back() == '.') text.pop_back();
  return text;
}

}  // namespace

std::vector<std::string> problems_of(const SamplingConfig& c) {
  std::vector<std::string> problems;
  if (!(c.temperature >= 0 && c.temperature <= 1e6))
    problems.push_back("--temperature: got " + number(c.temperature) + ", need 0 to 1000000");
  if (c.top_k < 0)
    problems.push_back("--top-k: got " + std::to_string(c.top_k) + ", need 0 (all) or more");
  if (!(c.top_p > 0 && c.top_p <= 1))
    problems.push_back("--top-p: got " + number(c.top_p) + ", need more than 0 and at most 1");
  return problems;
}

Sampler::Sampler(SamplingConfig config, std::int64_t vocab_size) : config_(config) {
  expects(problems_of(config).empty() && vocab_size > 0,
          "Sampler: got numbers out of range, need what problems_of accepts");
  tokens_.reserve(static_cast<std::size_t>(vocab_size));
  weights_.reserve(static_cast<std::size_t>(vocab_size));
}

// The first `count` of tokens_ become the most likely ones, in order.
void Sampler::order(std::span<const float> logits, std::size_t count) {
  const auto first = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  const auto end = tokens_.begin() + static_cast<std::ptrdiff_t>(std::min(count, tokens_.size()));
  std::partial_sort(tokens_.begin(), end, tokens_.end(), first);
}

std::int32_t Sampler::draw(std::span<const float> logits, std::uint64_t position) {
  const auto most = std::max_element(logits.begin(), logits.end());
  const bool numbers =
      std::none_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); });
  if (!numbers || most == logits.end() || !std::isfinite(*most))
    throw DataError("generate: the network's logits are not finite; its weights are damaged");
  if (config_.temperature == 0) return static_cast<std::int32_t>(most - logits.begin());

  tokens_.resize(logits.size());
  std::iota(tokens_.begin(), tokens_.end(), 0);
  std::size_t count = logits.size();
  if (config_.top_k > 0 && static_cast<std::uint64_t>(config_.top_k) < count) {
    count = static_cast<std::size_t>(config_.top_k);
    order(logits, count);
    tokens_.resize(count);
  }
  weights_.resize(count);
  const double inverse = 1 / config_.temperature, top = *most;
  const auto weigh = [&](std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      const double logit = logits[static_cast<std::size_t>(tokens_[i])];
      weights_[i] = std::exp((logit - top) * inverse);
    }
  };
  weigh(count);
  double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  if (config_.top_p < 1) {
    const double wanted = config_.top_p * total;
    std::size_t kept = 0, sorted = std::min<std::size_t>(256, count);
    double sum = 0;
    for (;; sorted = count) {  // few tokens have nearly all of it, as a rule
      order(logits, sorted);
      weigh(sorted);
      for (kept = 0, sum = 0; kept < sorted && (kept == 0 || sum < wanted); ++kept)
        sum += weights_[kept];
      if (sum >= wanted || sorted == count) break;
    }
    count = kept;
    total = sum;
  }
  double left = uniform(config_.seed, position) * total;
  std::size_t chosen = 0;
  while (chosen + 1 < count && left >= weights_[chosen]) left -= weights_[chosen++];
  while (chosen > 0 && weights_[chosen] == 0) --chosen;  // rounding can leave a little of `left`
  return tokens_[chosen];
}

}  // namespace sherd::model
