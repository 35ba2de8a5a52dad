#include "engine/states.hpp"

#include <bit>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/kernels/elementwise.hpp"

namespace sherd::engine {
namespace {

// Master weights of a bucket: their own buffer, or the stored parameter itself.
struct Home {
  View values;
  std::uint64_t first = 0;  // bucket element that values[0] is
};

bool has(const plan::Scheduled& scheduled, const std::string& name) {
  for (const plan::Buffer& buffer : scheduled.program.buffers) {
    if (buffer.persistent && buffer.name == name) return true;
  }
  return false;
}

Home home(const plan::Plan& plan, const Arenas& arenas, const char* kind, std::size_t bucket) {
  const auto name = [&](const std::string& k) { return k + "[" + std::to_string(bucket) + "]"; };
  std::string full = name(kind);
  if (std::string(kind) == "p")
    full = has(plan.train, name("p.shard")) ? name("p.shard") : name("p.full");
  const View values = persistent_view(plan.train, arenas, full);
  const auto count = static_cast<std::uint64_t>(values.numel());
  const bool whole = count == plan.setup.layout.buckets()[bucket].numel;
  return {values, whole ? 0 : plan.setup.layout.shard(bucket, plan.setup.rank).first};
}

View cut(const Home& at, std::uint64_t element, std::uint64_t count) {
  return {at.values.data + (element - at.first) * size_of(at.values.type),
          {1, static_cast<std::int64_t>(count)},
          at.values.type};
}

}  // namespace

View persistent_view(const plan::Scheduled& scheduled, const Arenas& arenas,
                     const std::string& name) {
  for (std::size_t b = 0; b < scheduled.program.buffers.size(); ++b) {
    const plan::Buffer& buffer = scheduled.program.buffers[b];
    if (!buffer.persistent || buffer.name != name) continue;
    const auto numel = static_cast<std::int64_t>(buffer.size / size_of(buffer.type));
    return {arenas[static_cast<std::size_t>(buffer.tier)].data() + scheduled.at[b].offset,
            {1, numel},
            buffer.type};
  }
  throw UsageError("engine: no persistent buffer " + name);
}

void load_weights(const plan::Plan& plan, const Arenas& arenas, const model::Weights& weights,
                  StreamRef stream) {
  constexpr std::uint64_t portion =
      64 * 1024;  // elements read at once, outside the arena but small
  std::vector<float> values(portion);
  const plan::Setup& setup = plan.setup;
  for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
    const Home stored = home(plan, arenas, "p", b);
    const Home master = setup.formats.master ? home(plan, arenas, "master", b) : stored;
    const shard::Range all{0, setup.layout.buckets()[b].numel};
    const shard::Range owned = setup.shard_optimizer ? setup.layout.shard(b, setup.rank) : all;
    for (const shard::Segment& segment : setup.layout.segments(b, owned)) {
      for (std::uint64_t done = 0; done < segment.count; done += portion) {
        const std::uint64_t count = std::min(portion, segment.count - done);
        const std::span<float> part = std::span(values).first(count);
        weights.read(setup.model.params[segment.param], segment.in_param + done, part);
        const std::uint64_t element = owned.first + segment.in_range + done;
        const View from{reinterpret_cast<std::byte*>(part.data()),
                        {1, static_cast<std::int64_t>(count)},
                        DType::f32};
        kernels::cast(from, cut(master, element, count), stream);
        if (setup.formats.master) kernels::cast(from, cut(stored, element, count), stream);
      }
    }
  }
}

Digest digest_of(const plan::Plan& plan, const Arenas& arenas) {
  const plan::Setup& setup = plan.setup;
  Digest digest{};
  for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
    const Home master = home(plan, arenas, setup.formats.master ? "master" : "p", b);
    const shard::Range owned =
        setup.layout.shard(b, setup.rank);  // also where everybody holds everything
    for (const shard::Segment& segment : setup.layout.segments(b, owned)) {
      const std::uint64_t name = mix(hash_name(setup.model.params[segment.param].name));
      const float* values = cut(master, owned.first + segment.in_range, segment.count).as<float>();
      for (std::uint64_t i = 0; i < segment.count; ++i) {
        const std::uint64_t one =
            mix(name ^ mix((segment.in_param + i) << 32 ^ std::bit_cast<std::uint32_t>(values[i])));
        digest[0] += one;
        digest[1] += mix(one);
      }
    }
  }
  return digest;
}

}  // namespace sherd::engine
