#include "data/token_stream.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

constexpr std::size_t most_kept_open = 64;  // far below the usual limit of 1024 per process

}  // namespace

void TokenStream::add(TokenArray array) {
  if (array.count() > std::numeric_limits<std::uint64_t>::max() / 8 - size_) {
    throw DataError(array.path() + ": makes the data larger than 2^61 tokens");
  }
  if (arrays_.size() < most_kept_open) array.keep_open();
  size_ += array.count();
  ends_.push_back(size_);
  arrays_.push_back(std::move(array));
}

void TokenStream::read(std::uint64_t first, std::span<std::int32_t> into,
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

void TokenStream::check(const TokenArray::Range& range) const {
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

void TokenStream::add_to(Fingerprint& fingerprint) const {
  fingerprint.add(arrays_.size());
  for (const TokenArray& array : arrays_) array.add_to(fingerprint);
}

}  // namespace sherd::data
