#include "bench/optim_state.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "sherd/kernels/block8_math.hpp"

namespace sherd::bench {
namespace {

enum Stream : std::uint64_t { of_grad = 1, of_master, of_m, of_v };
constexpr float grad_scale = 1024, moment_scale = 0.01f;
constexpr std::int64_t block = q8_elements;

enum class Part : std::uint8_t { first, second };

float initial_v(std::int64_t i) { return 1e-4f * (sample(of_v, i) + 1.0f); }
float initial_m(std::int64_t i) { return moment_scale * sample(of_m, i); }

// Element 0 of a block in a view of moments.
std::byte* place(const View& view, std::int64_t at) {
  return view.data + bytes_of(view.type, static_cast<std::uint64_t>(at));
}

float scale_of(const std::byte* from) {
  float scale;
  std::memcpy(&scale, from + q8_elements, sizeof scale);
  return scale;
}

void write_block(std::byte* to, DType type, Part part, const float* x) {
  using namespace kernels;
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < block; ++i) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(std::abs(x[i])));
    if (type == DType::f32) reinterpret_cast<float*>(to)[i] = x[i];
    if (type == DType::bf16) reinterpret_cast<bfloat16*>(to)[i] = to_bfloat16(x[i]);
  }
  if (type != DType::q8) return;
  const float scale = block8_scale(largest), inverse = block8_inverse(scale);
  for (std::int64_t i = 0; i < block; ++i) {
    const std::uint8_t code =
        part == Part::first ? encode_m(x[i], inverse, signed8) : encode_v(x[i], inverse, unsigned8);
    to[i] = static_cast<std::byte>(code);
  }
  std::memcpy(to + q8_elements, &scale, sizeof scale);
}

double read_element(const std::byte* from, DType type, Part part, std::int64_t i) {
  using namespace kernels;
  if (type == DType::f32) return static_cast<double>(reinterpret_cast<const float*>(from)[i]);
  if (type == DType::bf16)
    return static_cast<double>(to_float(reinterpret_cast<const bfloat16*>(from)[i]));
  const auto code = static_cast<std::uint8_t>(from[i]);
  const float scale = scale_of(from);
  return static_cast<double>(part == Part::first ? decode_m(code, scale, signed8)
                                                 : decode_v(code, scale, unsigned8));
}

// What a format may lose of a value beside fp32's error: one unit of bf16; half of the widest cell
// of the 8-bit map.
double format_error(const std::byte* block_start, DType type, Part part, double value) {
  if (type == DType::f32) return 0;
  if (type == DType::bf16) return std::abs(value) / 128;
  const double cell = 0.9 / (part == Part::first ? 64 : 128);
  return 0.505 * cell * static_cast<double>(scale_of(block_start));
}

// One block before the update, as its format keeps it.
struct Before {
  alignas(64) std::byte m[block * sizeof(float)], v[block * sizeof(float)];
  Before(std::int64_t first, DType type) {
    float x[block], y[block];
    for (std::int64_t i = 0; i < block; ++i) {
      x[i] = initial_m(first + i);
      y[i] = initial_v(first + i);
    }
    write_block(m, type, Part::first, x);
    write_block(v, type, Part::second, y);
  }
};

std::int64_t wrong_in_block(Rule rule, const kernels::UpdateArgs& args, std::int64_t first) {
  const DType type = args.m.type;
  const Before before(first, type);
  const bool has_v = static_cast<bool>(args.v);
  const std::byte* m = place(args.m, first);
  const std::byte* v = has_v ? place(args.v, first) : nullptr;
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < block; ++i) {
    const std::int64_t at = first + i;
    const bfloat16 stored = args.param.as<bfloat16>()[at];
    const float master = kernels::is_split(args)
                             ? joined(stored, args.master.as<std::uint16_t>()[at])
                             : args.master.as<float>()[at];
    const auto grad = to_float(to_bfloat16(grad_scale * sample(of_grad, at)));
    Updated expected =
        reference_update(rule,
                         {.grad = static_cast<double>(grad),
                          .master = static_cast<double>(sample(of_master, at)),
                          .m = read_element(before.m, type, Part::first, i),
                          .v = has_v ? read_element(before.v, type, Part::second, i) : 0},
                         args);
    expected.m_error += format_error(m, type, Part::first, expected.m);
    if (has_v) expected.v_error += format_error(v, type, Part::second, expected.v);
    const Element after{.master = static_cast<double>(master),
                        .m = read_element(m, type, Part::first, i),
                        .v = has_v ? read_element(v, type, Part::second, i) : 0};
    wrong += is_right(expected, after, stored) ? 0 : 1;
  }
  return wrong;
}

View as(const View& room, DType type) { return {room.data, room.shape, type}; }

}  // namespace

OptimState::OptimState(Buffers& buffers, std::int64_t n)
    : grad_(buffers.take({1, n}, DType::bf16)),
      master_(buffers.take({1, n}, DType::f32)),
      m_(buffers.take({1, n}, DType::f32)),
      v_(buffers.take({1, n}, DType::f32)),
      param_(buffers.take({1, n}, DType::bf16)) {
  expects(n % block == 0, "bench optim: got elements that are no multiple of 256, need one");
}
Bytes OptimState::cost(std::int64_t n) {
  return 3 * Buffers::cost({1, n}, DType::f32) + 2 * Buffers::cost({1, n}, DType::bf16);
}

kernels::UpdateArgs OptimState::fill(Rule rule, OptimFormat format, StreamRef stream) {
  const kernels::UpdateArgs args{.grad = grad_,
                                 .master = format.split ? as(master_, DType::u16) : master_,
                                 .m = as(m_, format.moments),
                                 .v = rule == Rule::adamw ? as(v_, format.moments) : View{},
                                 .param = param_,
                                 .round = {1, 2}};
  for_parts(grad_.numel(), stream, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += block) {
      float m[block], v[block];
      for (std::int64_t i = 0; i < block; ++i) {
        const std::int64_t at = first + i;
        grad_.as<bfloat16>()[at] = to_bfloat16(grad_scale * sample(of_grad, at));
        const float master = sample(of_master, at);
        if (!format.split) master_.as<float>()[at] = master;
        if (format.split) args.master.as<std::uint16_t>()[at] = remainder_of(master);
        param_.as<bfloat16>()[at] = to_stored_bfloat16(master);
        m[i] = initial_m(at);
        v[i] = initial_v(at);
      }
      write_block(place(args.m, first), format.moments, Part::first, m);
      if (args.v) write_block(place(args.v, first), format.moments, Part::second, v);
    }
  });
  return args;
}

std::int64_t OptimState::count_wrong(Rule rule, const kernels::UpdateArgs& args,
                                     StreamRef stream) const {
  std::atomic<std::int64_t> wrong{0};
  for_parts(grad_.numel(), stream, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; at += block) wrong += wrong_in_block(rule, args, at);
  });
  return wrong;
}

double bytes_moved(Rule rule, OptimFormat format) {
  const double moment = static_cast<double>(bytes_of(format.moments, q8_elements)) / q8_elements;
  const double master = format.split ? 2 * (2 + 2) : 2 * 4 + 2;
  return 2 + master + 2 * moment * (rule == Rule::adamw ? 2 : 1);
}

}  // namespace sherd::bench
