// A step drawn: its data are the plan's, and the page needs nothing beside itself.
#include "sherd/bench/timeline.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "cli/scratch_folder.hpp"
#include "sherd/launch/job.hpp"

using namespace sherd;
using memory::Tier;
using Json = nlohmann::json;

namespace {

launch::RunConfig offloaded() {
  launch::RunConfig config;
  config.ranks.ranks = 2;
  config.ranks.threads = 1;
  config.batch.micro_batch = 2;
  config.batch.grad_accum = 3;
  config.sharding.zero_stage = 3;
  config.sharding.bucket_bytes = 512 * kib;
  config.precision.precision = optim::Precision::bf16;
  config.memory.offload_optimizer = plan::Offload::file;
  config.memory.offload_activations = plan::OffloadActivations::host;
  config.memory.offload_tile = 65536;
  config.file_tier.offload_dir = ".";
  return config;
}

plan::Plan planned(const launch::RunConfig& config) {
  const launch::Validated run = launch::resolve(config, launch::Purpose::plan);
  return launch::prepare(run, launch::zoo_job(run), 0).plan;
}

Json data_of(const std::string& page) {
  const std::string start = "id=\"data\">";
  const std::size_t from = page.find(start) + start.size();
  REQUIRE(from != std::string::npos);
  return Json::parse(page.substr(from, page.find("</script>", from) - from));
}

// The buffers of a tier, as the plan has them and as a page has them.
using Rectangle = std::tuple<std::string, int, Bytes, Bytes, std::uint32_t, std::uint32_t>;
std::multimap<std::string, Rectangle> of_plan(const plan::Plan& plan, Tier tier) {
  std::multimap<std::string, Rectangle> all;
  const plan::Program& program = plan.train.program;
  for (std::size_t b = 0; b < program.buffers.size(); ++b) {
    const plan::Buffer& buffer = program.buffers[b];
    const plan::Placement& at = plan.train.at[b];
    if (buffer.tier != tier || buffer.size == 0 || at.born > at.dies) continue;
    all.emplace(buffer.name, Rectangle{buffer.name, static_cast<int>(buffer.use), at.offset,
                                       buffer.size, at.born, at.dies});
  }
  return all;
}
std::multimap<std::string, Rectangle> of_page(const Json& buffers) {
  std::multimap<std::string, Rectangle> all;
  for (const Json& b : buffers) all.emplace(b[0], Rectangle{b[0], b[1], b[2], b[3], b[4], b[5]});
  return all;
}
template <class Map>
std::vector<Rectangle> sorted(const Map& map) {
  std::vector<Rectangle> all;
  for (const auto& [name, rectangle] : map) all.push_back(rectangle);
  std::sort(all.begin(), all.end());
  return all;
}

bool is_self_contained(const std::string& page) {
  for (const char* outside : {"://", "src=", "href=", "url(", "@import", "fetch(", "import("})
    if (page.find(outside) != std::string::npos) return false;
  return true;
}

}  // namespace

TEST_CASE("the data of a page are the plan's buffers, steps and phases") {
  const plan::Plan plan = planned(offloaded());
  const Json data = data_of(bench::page(bench::timeline_of(plan, "a run")));
  const plan::Program& program = plan.train.program;
  CHECK(data["steps"] == program.steps.size());
  CHECK(data["stride"] == 1);
  REQUIRE(data["verb_of"].get<std::string>().size() == program.steps.size());
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const int verb = data["verb_of"].get<std::string>()[i] - 'a',
              lane = data["lane_of"].get<std::string>()[i] - 'a';
    REQUIRE(data["verbs"][static_cast<std::size_t>(verb)] == name_of(program.steps[i].verb));
    REQUIRE(data["lanes"][static_cast<std::size_t>(lane)] == name_of(program.steps[i].lane));
    REQUIRE(data["subject_of"][i] == program.steps[i].subject);
  }
  REQUIRE(data["phases"].size() == program.phases.size());
  CHECK(data["phases"][0]["name"] == program.phases[0].name);
  CHECK(data["phases"][1]["first"] == program.phases[1].first);
  REQUIRE(data["tiers"].size() == 3);
  for (const Json& tier : data["tiers"]) {
    const Tier which = tier["name"] == "device" ? Tier::device
                       : tier["name"] == "host" ? Tier::host
                                                : Tier::file;
    CHECK(sorted(of_page(tier["buffers"])) == sorted(of_plan(plan, which)));
  }
}

TEST_CASE("uses at the peak of a page are those of plan --json and sum up to its bytes") {
  const ScratchFolder folder;
  const std::string flags =
      " --world 2 --threads 1 --micro-batch 2 --grad-accum 3 --zero-stage 3 "
      "--bucket-bytes 512KiB --precision bf16 --offload-optimizer file --offload-activations host "
      "--offload-tile 65536 --offload-dir .";
  const std::string program = SHERD_PROGRAM;
  REQUIRE(std::system((program + " plan --json" + flags + " >" + folder.file("plan")).c_str()) ==
          0);
  REQUIRE(std::system((program + " bench memory --quiet --html " + folder.file("page") +
                       " --timeline " + folder.file("svg") + flags)
                          .c_str()) == 0);
  const Json plan = Json::parse(folder.read("plan"))["plan"];
  const std::string page = folder.read("page");
  CHECK(is_self_contained(page));
  CHECK(folder.read("svg").starts_with("<svg"));
  const Json data = data_of(page);
  REQUIRE(data["tiers"].size() == 3);
  for (const Json& tier : data["tiers"]) {
    const Json& row = plan[tier["name"].get<std::string>()];
    CHECK(tier["peak"] == row["peak"]);
    Bytes sum = 0;
    std::map<std::string, Bytes> listed;
    for (const auto& [use, bytes] : tier["uses"].items()) {
      CHECK(bytes == row[use]);
      sum += bytes.get<Bytes>();
    }
    CHECK(sum == tier["peak"]);
    for (const Json& b : tier["at_peak"]) {
      CHECK(b[4] <= tier["peak_step"]);
      CHECK(b[5] >= tier["peak_step"]);
      listed[data["uses"][b[1].get<std::size_t>()]] += b[3].get<Bytes>();
    }
    for (const auto& [use, bytes] : listed) CHECK(tier["uses"][use] == bytes);
  }
}

TEST_CASE("flags of a run without a picture of it, and a picture nowhere, are exit code 2") {
  const auto code = [](const std::string& flags) {
    const int status = std::system(
        (std::string(SHERD_PROGRAM) + " bench memory " + flags + " 2>/dev/null").c_str());
    return WEXITSTATUS(status);
  };
  CHECK(code("--zero-stage 3 --ranks 2") == 2);
  CHECK(code("--html /nowhere/page.html") == 2);
  CHECK(code("--html page.html --zero-stage 4") == 2);
}

TEST_CASE("names with odd characters leave neither their place in page or picture") {
  plan::Plan plan = planned(launch::RunConfig{});
  const std::string odd = "</script><img src=x onerror=\"alert('&')\">\x01\\\"\xff";
  plan.train.program.buffers[0].name = odd;
  plan.setup.model.blocks[0].name = odd;
  const bench::Timeline timeline = bench::timeline_of(plan, odd);
  const std::string page = bench::page(timeline);
  CHECK(page.find("<img") == std::string::npos);
  CHECK(page.find("</script><") == page.find("</script><script>"));
  const Json data = data_of(page);
  const std::string readable = odd.substr(0, odd.size() - 1) + "\xef\xbf\xbd";
  CHECK(data["title"] == readable);
  CHECK(data["blocks"][0] == readable);
  const std::string picture = bench::draw(timeline);
  CHECK(picture.find("<img") == std::string::npos);
  CHECK(picture.find("&lt;img") != std::string::npos);
}

TEST_CASE("a page of many steps stays small, usable and exact at its peaks") {
  launch::RunConfig config = offloaded();
  config.ranks.ranks = 1;
  config.sharding.zero_stage = 0;
  config.model.model = "gpt2-1558m";
  config.memory.offload_params = plan::Offload::file;
  config.memory.offload_tile = 1 << 17;
  const plan::Plan plan = planned(config);
  REQUIRE(plan.train.program.steps.size() > 20'000);
  const bench::Timeline whole = bench::timeline_of(plan, "many");
  std::size_t buffers = 0, drawn = 0;
  for (const bench::TierTimeline& tier : whole.tiers) buffers += tier.buffers.size();
  REQUIRE(buffers > 12'000);
  const bench::Timeline few = bench::thinned(whole, 12'000);
  for (std::size_t t = 0; t < few.tiers.size(); ++t) {
    const bench::TierTimeline& tier = few.tiers[t];
    drawn += tier.buffers.size();
    std::size_t counted = tier.left_out;
    for (const bench::TimelineBuffer& buffer : tier.buffers) counted += buffer.count;
    CHECK(counted == whole.tiers[t].buffers.size());
    const auto number = static_cast<std::size_t>(tier.tier);
    CHECK(tier.arena == plan.memory.arena[number]);
    CHECK(tier.at_peak_by_use == plan.memory.peak[number]);
    CHECK(tier.live() == plan.memory.live(tier.tier));
  }
  CHECK(drawn <= 12'000);
  const std::string page = bench::page(whole);
  CHECK(page.size() < 2'000'000);
  CHECK(is_self_contained(page));
}
