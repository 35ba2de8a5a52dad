#include "bench/device_rig.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

namespace sherd::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr Bytes past_caches = 512 * mib;
constexpr int most_launches = 512;

}  // namespace

DeviceRig::DeviceRig(const device::OpenDevice& device, const BenchOptions& options)
    : options_(options),
      stream_(device),
      host_(options.threads),
      origin_({{"where", std::string("device")}, {"device", device.driver->info().name}}) {}

double DeviceRig::seconds(const Passes& passes, int launches) {
  device::block(stream_, AbortWord{});
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < launches; ++i) passes[static_cast<std::size_t>(i) % passes.size()]();
  device::block(stream_, AbortWord{});
  return std::chrono::duration<double>(Clock::now() - start).count() / launches;
}

std::vector<Timing> DeviceRig::time(std::span<const Passes> all) {
  const double batch = options_.quick ? 1e-3 : 20e-3;
  std::vector<int> launches;
  for (const Passes& passes : all) {
    const auto each = static_cast<int>(passes.size());
    (void)seconds(passes, each);  // the first call of a kernel loads it
    const double once = std::max(seconds(passes, each), 1e-7);
    launches.push_back(std::clamp(static_cast<int>(batch / once), 1, most_launches));
  }
  std::vector<std::vector<double>> samples(all.size());
  for (int round = 0; round < options_.effective_rounds(); ++round) {
    for (std::size_t i = 0; i < all.size(); ++i) samples[i].push_back(seconds(all[i], launches[i]));
  }
  std::vector<Timing> times;
  for (std::vector<double>& one : samples) times.push_back(summarize(std::move(one)));
  return times;
}

std::int64_t DeviceRig::differing(const DeviceCase& what) {
  Place ours(stream_), theirs(host_);
  const Launch got = what.build(ours, what.small), wanted = what.build(theirs, what.small);
  got.pass();
  wanted.pass();
  return count_different(ours, theirs);
}

Row DeviceRig::row_of(const DeviceCase& what, const Launch& launch, const Timing& time) {
  Row row{.name = what.name,
          .time = time,
          .work = launch.work,
          .bound_name = {},
          .wrong = differing(what),
          .extra = {}};
  row.extra = origin_;
  row.extra.insert(row.extra.end(), what.extra.begin(), what.extra.end());
  return row;
}

Row DeviceRig::against_copy(const DeviceCase& what) {
  const Bytes size = options_.quick ? 16 * mib : 1 * gib;
  Place room(stream_);
  const View from = room.noise({1, static_cast<std::int64_t>(size / 4)}, DType::f32),
             to = room.room(from.shape, DType::f32);
  Place operands(stream_);
  const Launch first = what.build(operands, what.size);
  const double sets =
      std::min(16.0, std::ceil(static_cast<double>(past_caches) / std::max(first.work, 1.0)));
  std::array<Passes, 2> all;
  all[0].push_back(first.pass);
  while (!options_.quick && static_cast<double>(all[0].size()) < sets)
    all[0].push_back(what.build(operands, what.size).pass);
  all[1].emplace_back([&] { device::copy(to.raw(), from.raw(), stream_); });
  const std::vector<Timing> times = time(all);
  Row row = row_of(what, first, times[0]);
  row.bound_name = "copies on the device";
  row.bound = 2 * static_cast<double>(size) / times[1].median;
  row.extra.emplace_back("copied_bytes", static_cast<std::int64_t>(size));
  return row;
}

Row DeviceRig::against_rate(const DeviceCase& what, const std::string& name, double bound) {
  Place operands(stream_);
  const Launch launch = what.build(operands, what.size);
  const std::array<Passes, 1> all = {Passes{launch.pass}};
  const std::vector<Timing> times = time(all);
  Row row = row_of(what, launch, times[0]);
  row.unit = Work::flops;
  row.bound_name = name;
  row.bound = bound;
  return row;
}

}  // namespace sherd::bench
