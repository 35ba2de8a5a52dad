#include "sherd/data/tokens.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <utility>

#include "data/fingerprint.hpp"
#include "data/paths.hpp"
#include "data/token_file.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

constexpr std::int32_t not_counted = -100;
constexpr std::size_t most_kept_open = 64;  // far below the usual limit of 1024 per process

/// Arrays read as one.
class Stream {
 public:
  void add(TokenArray array) {
    if (array.count() > std::numeric_limits<std::uint64_t>::max() / 8 - size_) {
      throw DataError(array.path() + ": makes the data larger than 2^61 tokens");
    }
    if (arrays_.size() < most_kept_open) array.keep_open();
    size_ += array.count();
    ends_.push_back(size_);
    arrays_.push_back(std::move(array));
  }

  void read(std::uint64_t first, std::span<std::int32_t> into,
            const TokenArray::Range& range) const {
    auto at = static_cast<std::size_t>(std::ranges::upper_bound(ends_, first) - ends_.begin());
    while (!into.empty()) {
      const TokenArray& array = arrays_[at];
      const std::uint64_t begin = ends_[at] - array.count();
      const std::size_t now = std::min<std::uint64_t>(into.size(), ends_[at] - first);
      array.read(first - begin, into.first(now), range);
      first += now;
      into = into.subspan(now);
      ++at;
    }
  }

  void check(const TokenArray::Range& range) const {
    std::vector<std::int32_t> block(std::size_t{64} * 1024);
    for (const TokenArray& array : arrays_) {
      if (array.type() == DType::u8 && range.limit >= 256) continue;
      if (array.type() == DType::u16 && range.limit >= 65536) continue;
      for (std::uint64_t first = 0; first < array.count(); first += block.size()) {
        const std::size_t now = std::min<std::uint64_t>(block.size(), array.count() - first);
        array.read(first, std::span(block).first(now), range);
      }
    }
  }

  void add_to(Fingerprint& fingerprint) const {
    fingerprint.add(arrays_.size());
    for (const TokenArray& array : arrays_) {
      fingerprint.add(static_cast<std::uint64_t>(array.type()));
      fingerprint.add(array.count());
      fingerprint.add(*array.file());
    }
  }

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const std::vector<TokenArray>& arrays() const { return arrays_; }

 private:
  std::vector<TokenArray> arrays_;
  std::vector<std::uint64_t> ends_;  // of each array, in the stream
  std::uint64_t size_ = 0;
};

class Windows final : public TokenSource {
 public:
  Windows(TokenFormat format, Stream tokens, Stream labels, TokenOptions options)
      : format_(format),
        tokens_(std::move(tokens)),
        labels_(std::move(labels)),
        length_(static_cast<std::uint64_t>(options.seq_len)),
        token_range_{options.vocab_size, std::nullopt},
        label_range_{options.vocab_size, not_counted} {}

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
  Stream tokens_, labels_;
  std::uint64_t length_;
  TokenArray::Range token_range_, label_range_;
};

TokenFormat common_format(const std::vector<std::string>& files) {
  if (files.empty()) return TokenFormat::text;
  const TokenFormat first = format_of(files.front());
  for (const std::string& file : files) {
    if (format_of(file) == first) continue;
    throw DataError("data: got mixed kinds of files, need one kind: '" + files.front() + "' is " +
                    name_of(first) + ", '" + file + "' is " + name_of(format_of(file)));
  }
  return first;
}

std::string labels_beside(const std::string& array) {
  const std::size_t slash = array.rfind('/');
  return (slash == std::string::npos ? "" : array.substr(0, slash + 1)) + "labels.npy";
}

/// The label arrays beside the token arrays: one for each, or none at all.
Stream open_labels(const Stream& tokens) {
  Stream labels;
  std::vector<std::string> used;
  for (const TokenArray& array : tokens.arrays()) {
    const std::string path = labels_beside(array.path());
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) continue;
    if (std::ranges::find(used, path) != used.end()) {
      throw DataError(path + ": lies beside two token arrays, need a folder for each");
    }
    TokenArray label = TokenArray::open(path, TokenFormat::npy);
    if (label.type() != DType::i32 && label.type() != DType::i64) {
      throw DataError(path + ": has elements of type " + std::string(name_of(label.type())) +
                      ", need int32 (-100 is not counted)");
    }
    if (label.count() != array.count()) {
      throw DataError(path + ": has " + std::to_string(label.count()) + " labels, need " +
                      std::to_string(array.count()) + ", one for each token of " + array.path());
    }
    labels.add(std::move(label));
    used.push_back(path);
  }
  if (!used.empty() && used.size() != tokens.arrays().size()) {
    throw DataError("data: got labels.npy beside some arrays only (such as " + used.front() +
                    "), need it beside all or none");
  }
  return labels;
}

}  // namespace

std::unique_ptr<TokenSource> open_tokens(const std::vector<std::string>& paths,
                                         TokenOptions options) {
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  expects(options.seq_len > 0 && options.seq_len < most,
          "open_tokens: got no seq_len in 1 to 2^31");
  expects(options.vocab_size > 0 && options.vocab_size <= most + 1,
          "open_tokens: got no vocab_size in 1 to 2^31");
  const std::vector<std::string> files = files_of(paths);
  const TokenFormat format = common_format(files);
  Stream tokens;
  for (const std::string& file : files) tokens.add(TokenArray::open(file, format));
  const auto need = static_cast<std::uint64_t>(options.seq_len) + 1;
  if (tokens.size() < need) {
    std::string from = paths.empty() ? "no path" : "'" + paths.front() + "'";
    if (paths.size() > 1) from += " and " + std::to_string(paths.size() - 1) + " more";
    throw DataError("data: got " + std::to_string(tokens.size()) + " tokens in " +
                    std::to_string(files.size()) + " file(s) from " + from + ", need at least " +
                    std::to_string(need) + " (sequence length + 1)");
  }
  Stream labels;
  if (format == TokenFormat::npy) labels = open_labels(tokens);
  return std::make_unique<Windows>(format, std::move(tokens), std::move(labels), options);
}

}  // namespace sherd::data
