#include "data/token_windows.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

class Windows final : public TokenSource {
 public:
  Windows(TokenFormat format, TokenStream tokens, TokenStream labels, const TokenOptions& options)
      : format_(format),
        tokens_(std::move(tokens)),
        labels_(std::move(labels)),
        length_(static_cast<std::uint64_t>(options.seq_len)),
        token_range_{options.vocab_size, std::nullopt},
        label_range_{options.vocab_size, -100} {}

  [[nodiscard]] std::uint64_t samples() const override { return (tokens_.size() - 1) / length_; }
  [[nodiscard]] SampleShape shape() const override {
    const auto columns = static_cast<std::int64_t>(length_);
    return {columns, DType::i32, columns, DType::i32};
  }
  [[nodiscard]] std::uint64_t tokens() const override { return tokens_.size(); }
  [[nodiscard]] std::uint64_t files() const override { return tokens_.arrays().size(); }

  void read(std::uint64_t sample, View inputs, View labels) const override {
    const Shape row{1, static_cast<std::int64_t>(length_)};
    expects(sample < samples(), "tokens: got a sample past the end");
    expects(inputs.shape == row && inputs.type == DType::i32 && labels.shape == row &&
                labels.type == DType::i32,
            "tokens: got inputs or labels of another shape than i32 [1, seq_len]");
    const std::span<std::int32_t> in = inputs.span<std::int32_t>();
    const std::span<std::int32_t> out = labels.span<std::int32_t>();
    const std::uint64_t first = sample * length_;
    tokens_.read(first, in, token_range_);
    if (labels_.size() > 0) return labels_.read(first, out, label_range_);
    std::ranges::copy(in.subspan(1), out.begin());
    tokens_.read(first + length_, out.last(1), token_range_);
  }

  void check_tokens() const override {
    tokens_.check(token_range_);
    labels_.check(label_range_);
  }

  [[nodiscard]] std::uint64_t fingerprint() const override {
    Fingerprint fingerprint;
    fingerprint.add(static_cast<std::uint64_t>(format_));
    tokens_.add_to(fingerprint);
    labels_.add_to(fingerprint);
    return fingerprint.value();
  }

 private:
  TokenFormat format_;
  TokenStream tokens_, labels_;
  std::uint64_t length_;
  TokenArray::Range token_range_, label_range_;
};

}  // namespace

std::unique_ptr<TokenSource> windows_of(TokenFormat format, TokenStream tokens, TokenStream labels,
                                        const TokenOptions& options) {
  return std::make_unique<Windows>(format, std::move(tokens), std::move(labels), options);
}

void require_window(const TokenStream& tokens, const TokenOptions& options,
                    const std::string& from) {
  const auto need = static_cast<std::uint64_t>(options.seq_len) + 1;
  if (tokens.size() >= need) return;
  throw DataError("data: got " + std::to_string(tokens.size()) + " tokens in " +
                  std::to_string(tokens.arrays().size()) + " file(s) from " + from +
                  ", need at least " + std::to_string(need) + " (sequence length + 1)");
}

void require_vocabulary(const std::string& name, std::int64_t tokenizer_size,
                        const TokenOptions& options) {
  if (tokenizer_size <= options.vocab_size) return;
  throw DataError(name + ": its tokenizer has " + std::to_string(tokenizer_size) +
                  " tokens, need at most the model's " + std::to_string(options.vocab_size) +
                  " (--vocab-size)");
}

}  // namespace sherd::data
