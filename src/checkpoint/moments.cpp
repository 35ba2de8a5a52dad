// Moments in the format a run keeps them in, whatever they were saved in.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "checkpoint/whole_blocks.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/kernels/block8_math.hpp"

namespace sherd::checkpoint {
namespace {

using kernels::Block8Map;

void decode_blocks(const std::byte* blocks, State moment, std::span<float> out) {
  const bool first = moment == State::moment1;
  const Block8Map& map = first ? kernels::signed8 : kernels::unsigned8;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::byte* block = blocks + i / q8_elements * q8_bytes;
    float scale;
    std::memcpy(&scale, block + q8_elements, sizeof scale);
    const auto code = static_cast<std::uint8_t>(block[i % q8_elements]);
    out[i] = first ? kernels::decode_m(code, scale, map) : kernels::decode_v(code, scale, map);
  }
}

void encode_blocks(std::span<const float> values, State moment, std::byte* blocks) {
  const bool first = moment == State::moment1;
  const Block8Map& map = first ? kernels::signed8 : kernels::unsigned8;
  for (std::size_t at = 0; at < values.size(); at += q8_elements, blocks += q8_bytes) {
    const auto block = values.subspan(at, std::min(q8_elements, values.size() - at));
    std::uint32_t largest = 0;
    for (const float x : block)
      largest = std::max(largest, std::bit_cast<std::uint32_t>(std::fabs(x)));
    const float scale = kernels::block8_scale(largest), inverse = kernels::block8_inverse(scale);
    std::memset(blocks, 0, q8_elements);
    for (std::size_t i = 0; i < block.size(); ++i)
      blocks[i] = static_cast<std::byte>(first ? kernels::encode_m(block[i], inverse, map)
                                               : kernels::encode_v(block[i], inverse, map));
    std::memcpy(blocks + q8_elements, &scale, sizeof scale);
  }
}

}  // namespace

void Checkpoint::read_moment(const Tensor& tensor, State moment, std::uint64_t first,
                             const View& into) const {
  const TensorState* kept = tensor.find(moment);
  if (kept == nullptr)
    throw DataError(folder_ + ": tensor '" + tensor.name + "' keeps no " +
                    std::string(name_of(moment)));
  const auto numel = static_cast<std::uint64_t>(tensor.shape.numel());
  const std::uint64_t count = std::min(static_cast<std::uint64_t>(into.numel()), numel - first);
  std::vector<std::byte> stored(packed_bytes(kept->type, count));
  read(tensor, moment, first, count, stored);
  if (kept->type == DType::q8) {
    std::vector<std::byte> blocks(ceil_div(count, q8_elements) * q8_bytes);
    put_whole_blocks(stored, count, blocks.data());
    stored = std::move(blocks);
  }
  if (kept->type == into.type) {
    std::memcpy(into.data, stored.data(), stored.size());
    return;
  }
  std::vector<float> values(count);
  if (kept->type == DType::q8) {
    decode_blocks(stored.data(), moment, values);
  } else if (kept->type == DType::bf16) {
    const auto* from = reinterpret_cast<const bfloat16*>(stored.data());
    std::transform(from, from + count, values.begin(), [](bfloat16 x) { return to_float(x); });
  } else {
    std::memcpy(values.data(), stored.data(), stored.size());
  }
  if (into.type == DType::q8) return encode_blocks(values, moment, into.data);
  if (into.type == DType::f32) {
    std::memcpy(into.data, values.data(), values.size() * sizeof(float));
    return;
  }
  std::ranges::transform(values, into.as<bfloat16>(), [](float x) { return to_bfloat16(x); });
}

}  // namespace sherd::checkpoint
