#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/base/units.hpp"
#include "sherd/bench/data.hpp"
#include "sherd/device/workers.hpp"

namespace sherd::bench {
namespace {

using sherd::data::Encoder;
using sherd::data::Tokenizer;
using Ids = std::vector<std::uint32_t>;

std::vector<std::string_view> pieces_of(const Tokenizer& tokenizer, std::string_view text) {
  constexpr std::size_t size = std::size_t{64} * 1024;
  std::vector<std::string_view> pieces;
  for (auto cut = tokenizer.cut(text, size); cut; cut = tokenizer.cut(text, size)) {
    pieces.push_back(text.substr(0, *cut));
    text.remove_prefix(*cut);
  }
  pieces.push_back(text);
  return pieces;
}

/// In normal form C, as some tokenizers want text; as it is where it is no UTF-8.
std::string composed(std::string_view text) {
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), std::ssize(text), &made,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(made, &std::free);
  if (size < 0) return std::string(text);
  return {reinterpret_cast<const char*>(made), static_cast<std::size_t>(size)};
}

std::int64_t bytes_apart(std::string_view a, std::string_view b) {
  const auto [here, there] = std::ranges::mismatch(a, b);
  return std::max(a.end() - here, b.end() - there);
}

/// Bytes of `text`, or of its normal form, that its tokens do not give back.
std::int64_t bytes_lost(const Tokenizer& tokenizer, const Ids& ids, std::string_view text) {
  std::string back;
  for (const std::uint32_t id : ids) back += tokenizer.bytes_of(id);
  const std::int64_t lost = bytes_apart(back, text);
  return lost == 0 ? 0 : std::min(lost, bytes_apart(back, composed(text)));
}

Row row_of(const std::string& name, std::size_t bytes, std::size_t tokens, int threads) {
  Row row;
  row.name = name;
  row.work = static_cast<double>(bytes);
  row.extra = {{"threads", static_cast<std::int64_t>(threads)},
               {"tokens", static_cast<std::int64_t>(tokens)}};
  return row;
}

}  // namespace

std::vector<Row> data(const BenchOptions& options, const Tokenizer& tokenizer, std::string text) {
  expects(!text.empty(), "bench data: got no text");
  text.resize(std::min<std::size_t>(text.size(), (options.quick ? 4 : 32) * mib));
  const std::vector<std::string_view> pieces = pieces_of(tokenizer, text);
  device::Workers workers(options.threads);
  Encoder known(tokenizer);
  Ids ids, again;
  const auto encode = [&](Encoder& encoder, Ids& into) {
    into.clear();
    for (const std::string_view piece : pieces) encoder.encode(piece, into);
  };
  std::vector<Ids> by_piece(pieces.size());
  const auto encode_all = [&] {
    std::vector<Encoder> encoders;
    encoders.reserve(static_cast<std::size_t>(options.threads));
    for (int i = 0; i < options.threads; ++i) encoders.emplace_back(tokenizer);
    workers.run(std::ssize(pieces), [&](std::int64_t piece, int worker) {
      const auto at = static_cast<std::size_t>(piece);
      by_piece[at].clear();
      encoders[static_cast<std::size_t>(worker)].encode(pieces[at], by_piece[at]);
    });
  };
  const Pass passes[] = {[&] {
                           Encoder fresh(tokenizer);
                           encode(fresh, ids);
                         },
                         [&] { encode(known, again); }, encode_all};
  const std::vector<Timing> times = alternate(options.effective_rounds(), passes);
  Row one = row_of("encode", text.size(), ids.size(), 1);
  one.time = times[0];
  one.bound_name = "the same words, remembered";
  one.bound = one.work / times[1].median;
  one.extra.emplace_back("mb_per_s", one.per_second() / 1e6);
  one.wrong = bytes_lost(tokenizer, ids, text);
  Row all = row_of("encode", text.size(), ids.size(), options.threads);
  all.time = times[2];
  all.bound_name = "one thread's rate, so many times";
  all.bound = one.per_second() * options.threads;
  all.extra.emplace_back("mb_per_s", all.per_second() / 1e6);
  Ids joined;
  for (const Ids& piece : by_piece) joined.insert(joined.end(), piece.begin(), piece.end());
  all.wrong = (ids == again ? 0 : 1) + (ids == joined ? 0 : 1);
  return {one, all};
}

}  // namespace sherd::bench
