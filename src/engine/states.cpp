#include "engine/states.hpp"

#include <atomic>
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

Home home(const plan::Plan& plan, const Arenas& arenas, const char* kind, std::size_t bucket) {
  std::string full = plan::bucket_name(kind, bucket);
  if (std::string(kind) == "p") {
    const std::string shard = plan::bucket_name("p.shard", bucket);
    full =
        plan::has_buffer(plan.train.program, shard) ? shard : plan::bucket_name("p.full", bucket);
  }
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

// Elements a worker handles at once.
constexpr std::uint64_t portion = 64 * 1024;

/// task(first, count) over [0, count) by portions, on all threads of the stream.
template <class Task>
void for_portions(std::uint64_t count, StreamRef stream, Task&& task) {
  const auto tasks = static_cast<std::int64_t>(ceil_div(count, portion));
  stream.workers().run(tasks, [&](std::int64_t index, int) {
    const std::uint64_t first = static_cast<std::uint64_t>(index) * portion;
    task(first, std::min(portion, count - first));
  });
}

// Converts on this thread; on the way to a device, through memory that is free again on return.
void store(View from, View to, StreamRef stream) {
  device::Stream own(1);
  if (stream.kind() == DeviceKind::cpu) return kernels::cast(from, to, own);
  std::vector<std::byte> converted(to.bytes());
  kernels::cast(from, {converted.data(), to.shape, to.type}, own);
  device::copy(to.raw(), converted, stream);
}

// The values of a view, wherever it lies; `space` holds a copy of what lies on a device.
const float* values_of(View view, std::vector<float>& space, StreamRef stream) {
  if (stream.kind() == DeviceKind::cpu) return view.as<float>();
  space.resize(static_cast<std::size_t>(view.numel()));
  device::copy(std::as_writable_bytes(std::span(space)), view.raw(), stream);
  return space.data();
}

}  // namespace

View persistent_view(const plan::Scheduled& scheduled, const Arenas& arenas,
                     const std::string& name) {
  const plan::BufferId id = plan::find_buffer(scheduled.program, name);
  const plan::Buffer& buffer = scheduled.program.at(id);
  expects(buffer.persistent, "engine: buffer " + name + " does not outlive a step");
  const auto numel = static_cast<std::int64_t>(buffer.size / size_of(buffer.type));
  return {arenas[static_cast<std::size_t>(buffer.tier)].data() +
              scheduled.at[plan::index_of(id)].offset,
          {1, numel},
          buffer.type};
}

void load_weights(const plan::Plan& plan, const Arenas& arenas, const model::Weights& weights,
                  const Transfer& transfer) {
  const plan::Setup& setup = plan.setup;
  for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
    const Home stored = home(plan, arenas, "p", b);
    const Home master = setup.formats.master ? home(plan, arenas, "master", b) : stored;
    const shard::Range owned = setup.held(b);
    for (const shard::Segment& segment : setup.layout.segments(b, owned)) {
      for_portions(segment.count, transfer.host, [&](std::uint64_t done, std::uint64_t count) {
        std::vector<float> values(count);  // outside the arena but small
        weights.read(setup.model.params[segment.param], segment.in_param + done, values);
        const std::uint64_t element = owned.first + segment.in_range + done;
        const View from{reinterpret_cast<std::byte*>(values.data()),
                        {1, static_cast<std::int64_t>(count)},
                        DType::f32};
        store(from, cut(master, element, count), transfer.device);
        if (setup.formats.master) store(from, cut(stored, element, count), transfer.device);
      });
    }
  }
}

Digest digest_of(const plan::Plan& plan, const Arenas& arenas, const Transfer& transfer) {
  const plan::Setup& setup = plan.setup;
  std::array<std::atomic<std::uint64_t>, 2> digest{};  // sums: any order gives the same
  for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
    const Home master = home(plan, arenas, setup.formats.master ? "master" : "p", b);
    const shard::Range owned =
        setup.layout.shard(b, setup.rank);  // also where everybody holds everything
    for (const shard::Segment& segment : setup.layout.segments(b, owned)) {
      const std::uint64_t name = mix(hash_name(setup.model.params[segment.param].name));
      for_portions(segment.count, transfer.host, [&](std::uint64_t first, std::uint64_t count) {
        std::vector<float> space;
        const float* values = values_of(cut(master, owned.first + segment.in_range + first, count),
                                        space, transfer.device);
        Digest part{};
        for (std::uint64_t i = 0; i < count; ++i) {
          const std::uint64_t one = mix(name ^ mix((segment.in_param + first + i) << 32 ^
                                                   std::bit_cast<std::uint32_t>(values[i])));
          part[0] += one;
          part[1] += mix(one);
        }
        digest[0] += part[0];
        digest[1] += part[1];
      });
    }
  }
  return {digest[0], digest[1]};
}

}  // namespace sherd::engine
