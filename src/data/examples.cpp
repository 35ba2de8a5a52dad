#include "data/examples.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

constexpr std::int32_t label_not_counted = -100;
constexpr std::int64_t most_start = std::int64_t{1} << 31;

class Examples final : public TokenSource {
 public:
  Examples(std::vector<ExampleArrays> shards, const TokenOptions& options)
      : length_(options.seq_len),
        token_range_{options.vocab_size, std::nullopt},
        label_range_{options.vocab_size, label_not_counted} {
    for (ExampleArrays& shard : shards) {
      if (shard.labels.count() != shard.tokens.count() || shard.starts.count() == 0)
        throw DataError(shard.tokens.path() +
                        ": does not belong to the labels and starts beside it");
      firsts_.push_back(tokens_.size());
      examples_ += shard.starts.count() - 1;
      ends_.push_back(examples_);
      tokens_.add(std::move(shard.tokens));
      labels_.add(std::move(shard.labels));
      starts_.push_back(std::move(shard.starts));
    }
    if (examples_ == 0) throw DataError("data: got no example, need at least 1");
  }

  [[nodiscard]] std::uint64_t samples() const override { return examples_; }
  [[nodiscard]] SampleShape shape() const override {
    return {length_, DType::i32, length_, DType::i32};
  }
  [[nodiscard]] std::uint64_t tokens() const override { return tokens_.size(); }
  [[nodiscard]] std::uint64_t files() const override { return tokens_.arrays().size(); }

  void read(std::uint64_t sample, View inputs, View labels) const override {
    const Shape row{1, length_};
    expects(sample < samples(), "examples: got a sample past the end");
    expects(inputs.shape == row && inputs.type == DType::i32 && labels.shape == row &&
                labels.type == DType::i32,
            "examples: got inputs or labels of another shape than i32 [1, seq_len]");
    const auto [first, size] = place_of(sample);
    const std::size_t count = std::min<std::uint64_t>(size, static_cast<std::uint64_t>(length_));
    const std::span<std::int32_t> in = inputs.span<std::int32_t>(),
                                  out = labels.span<std::int32_t>();
    tokens_.read(first, in.first(count), token_range_);
    labels_.read(first, out.first(count), label_range_);
    std::ranges::fill(in.subspan(count), 0);
    std::ranges::fill(out.subspan(count), label_not_counted);
  }

  void check_tokens() const override {
    tokens_.check(token_range_);
    labels_.check(label_range_);
    for (std::size_t shard = 0; shard < starts_.size(); ++shard) check_starts(shard);
  }

  [[nodiscard]] std::uint64_t fingerprint() const override {
    Fingerprint fingerprint;
    tokens_.add_to(fingerprint);
    labels_.add_to(fingerprint);
    for (const TokenArray& starts : starts_) starts.add_to(fingerprint);
    return fingerprint.value();
  }

 private:
  struct Place {
    std::uint64_t first, size;
  };
  [[nodiscard]] Place place_of(std::uint64_t sample) const {
    const auto shard =
        static_cast<std::size_t>(std::ranges::upper_bound(ends_, sample) - ends_.begin());
    const TokenArray& starts = starts_[shard];
    const std::uint64_t before = ends_[shard] - (starts.count() - 1);
    std::array<std::int32_t, 2> edges{};
    starts.read(sample - before, edges, {most_start, std::nullopt});
    check_edges(shard, edges[0], edges[1]);
    return {firsts_[shard] + static_cast<std::uint64_t>(edges[0]),
            static_cast<std::uint64_t>(edges[1] - edges[0])};
  }
  void check_edges(std::size_t shard, std::int32_t begin, std::int32_t end) const {
    if (begin > end || static_cast<std::uint64_t>(end) > tokens_.arrays()[shard].count())
      throw DataError(starts_[shard].path() + ": has an example from " + std::to_string(begin) +
                      " to " + std::to_string(end) + ", need an order and at most " +
                      std::to_string(tokens_.arrays()[shard].count()));
  }
  void check_starts(std::size_t shard) const {
    const TokenArray& starts = starts_[shard];
    std::vector<std::int32_t> block(16384);
    std::int32_t last = 0;
    for (std::uint64_t first = 0; first < starts.count(); first += block.size()) {
      const std::size_t now = std::min<std::uint64_t>(block.size(), starts.count() - first);
      starts.read(first, std::span(block).first(now), {most_start, std::nullopt});
      for (std::size_t i = 0; i < now; last = block[i++]) check_edges(shard, last, block[i]);
    }
  }

  std::int64_t length_;
  TokenArray::Range token_range_, label_range_;
  TokenStream tokens_, labels_;
  std::vector<TokenArray> starts_;
  std::vector<std::uint64_t> firsts_;  // of each shard's tokens, in the stream
  std::vector<std::uint64_t> ends_;    // of each shard's examples
  std::uint64_t examples_ = 0;
};

}  // namespace

std::unique_ptr<TokenSource> open_examples(std::vector<ExampleArrays> shards,
                                           const TokenOptions& options) {
  return std::make_unique<Examples>(std::move(shards), options);
}

}  // namespace sherd::data
