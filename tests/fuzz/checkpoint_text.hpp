#pragma once
// What manifests and parts of checkpoints have in common: the seal, and what is promised of both.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "fuzz/json_change.hpp"
#include "sherd/checkpoint/manifest.hpp"

namespace sherd::fuzz {

inline constexpr std::string_view sealed_head = "{\"checkpoint\":", sealed_tail = ",\"crc32c\":\"";
inline constexpr std::size_t seal_size = sealed_tail.size() + 8 + 3;  // digits, "}\n

/// CRC32C, bit by bit.
inline std::uint32_t slow_crc32c(std::string_view text) {
  std::uint32_t sum = ~0u;
  for (const char c : text) {
    sum ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ (0x82f63b78u & (0u - (sum & 1)));
  }
  return ~sum;
}

inline std::string sealed_text(std::string_view body) {
  std::string digits(8, '0');
  for (std::size_t i = 0; i < 8; ++i)
    digits[7 - i] = "0123456789abcdef"[slow_crc32c(body) >> (4 * i) & 15];
  return std::string(sealed_head) + std::string(body) + std::string(sealed_tail) + digits + "\"}\n";
}

/// What is under the seal, whether or not it holds.
inline std::string body_of(std::string_view text) {
  if (!text.starts_with(sealed_head) || text.size() < sealed_head.size() + seal_size) return "{}";
  text.remove_prefix(sealed_head.size());
  text.remove_suffix(seal_size);
  return std::string(text);
}

inline std::string changed_sealed(const std::string& text, Random& random,
                                  const ChangeBytes& change) {
  return sealed_text(changed_json(body_of(text), random, change));
}

inline checkpoint::Tensor random_tensor(std::uint32_t file, Bytes& at, std::uint64_t rank,
                                        std::uint64_t ranks, Random& random) {
  using checkpoint::State;
  checkpoint::Tensor tensor{"t", {1 + static_cast<std::int64_t>(random.below(9)), 256}, {}};
  const auto rows = static_cast<std::uint64_t>(tensor.shape.rows);
  const std::array<DType, 4> types = {DType::f32, DType::f32, DType::q8, DType::q8};
  for (std::size_t i = 0; i < checkpoint::states; ++i) {
    if (i == 1 && random.one_in(2)) continue;
    checkpoint::TensorState state{
        static_cast<State>(i), types[i], {random.draw(), random.draw()}, {}};
    const std::uint64_t first = rows * rank / ranks * 256, end = rows * (rank + 1) / ranks * 256;
    if (end > first) state.extents.push_back({file, at, first, end - first});
    at += checkpoint::packed_bytes(types[i], end - first);
    tensor.states.push_back(std::move(state));
  }
  return tensor;
}

/// The part of one rank of `ranks`; of one rank it is a whole checkpoint.
inline checkpoint::Contents random_contents(std::uint64_t rank, std::uint64_t ranks,
                                            Random& random) {
  checkpoint::Contents contents;
  Bytes at = 0;
  for (std::size_t n = 1 + random.below(3); n > 0; --n) {
    contents.tensors.push_back(random_tensor(0, at, rank, ranks, random));
    contents.tensors.back().name = "layer" + std::to_string(9 - n) + ".weight";
  }
  const Bytes size = ceil_div(at, Bytes{4096}) * 4096;
  std::vector<std::uint32_t> sums(ceil_div(size, checkpoint::block_bytes));
  for (std::uint32_t& sum : sums) sum = static_cast<std::uint32_t>(random.draw());
  contents.files.push_back({"rank-000.bin", size, std::move(sums)});
  return contents;
}

/// Elements in order and once, all of them if `whole`; bytes inside their files and nobody else's.
inline void check_contents(const checkpoint::Contents& contents, bool whole) {
  using Wide = unsigned __int128;
  std::vector<std::tuple<std::uint32_t, Wide, Wide>> ranges;
  for (const checkpoint::Tensor& tensor : contents.tensors) {
    const Wide elements =
        static_cast<Wide>(tensor.shape.rows) * static_cast<Wide>(tensor.shape.cols);
    promised(elements > 0 && elements < Wide{1} << 60, "shapes are in range");
    for (const checkpoint::TensorState& state : tensor.states) {
      Wide next = 0;
      for (const checkpoint::Extent& extent : state.extents) {
        promised(whole ? extent.first == next : extent.first >= next, "elements are there once");
        next = Wide{extent.first} + extent.count;
        const Wide count = extent.count, width = state.type == DType::f32 ? 4 : 2;
        const Wide bytes =
            state.type == DType::q8 ? count + (count + 255) / 256 * 4 : count * width;
        ranges.emplace_back(extent.file, extent.offset, Wide{extent.offset} + bytes);
        promised(extent.count > 0 && extent.file < contents.files.size() &&
                     std::get<2>(ranges.back()) <= contents.files[extent.file].size,
                 "bytes are inside their file");
      }
      promised(whole ? next == elements : next <= elements, "elements are those of the tensor");
    }
  }
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i)
    promised(std::get<0>(ranges[i - 1]) != std::get<0>(ranges[i]) ||
                 std::get<2>(ranges[i - 1]) <= std::get<1>(ranges[i]),
             "bytes belong to one tensor");
}

/// `again`, made of what was read from `input`, says nothing else than it, and reads as itself.
inline void check_same(const std::string& input, const std::string& again,
                       const std::string& once_more) {
  promised(again == once_more, "what is written reads as it was");
  const Tree was = Tree::parse(body_of(input)), is = Tree::parse(body_of(again));
  promised(is_contained(is, was), "what was read is what stood there");
  if (was == is && was.dump() == body_of(input))
    promised(input == again, "a manifest as sherd writes it is written again the same");
}

}  // namespace sherd::fuzz
