#include "sherd/launch/resume.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/checkpoint/latest.hpp"
#include "sherd/launch/field.hpp"

namespace sherd::launch {
namespace {

bool shapes_training(const Field& field) {
  switch (field.concern) {
    case Concern::batch:
    case Concern::precision:
    case Concern::optimizer:
      return !field.key.starts_with("eval_");
    case Concern::model:
      return field.key == "seed" || field.key == "dropout" || field.key == "freeze";
    case Concern::sharding:
      return field.key == "reduce_every" || field.key == "reduce_order";
    case Concern::data:
      return field.key == "tokenizer";
    default:
      return false;
  }
}

void require_one(const std::string& folder) {
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::path(folder) / checkpoint::manifest_name, ignored))
    return;
  const std::vector<checkpoint::Found> all = checkpoint::list(io::storage(), folder);
  if (all.empty()) return;
  throw DataError(
      fmt::format("--resume: {} is a folder of checkpoints; give one of them, such as {}, or "
                  "--save {} --resume latest",
                  folder, all.front().folder, folder));
}

std::string run_of(const std::string& folder) {
  return checkpoint::Checkpoint(io::storage(), folder).manifest().run;
}

}  // namespace

Continuation::Continuation(const Validated& run) {
  const checkpoint::CheckpointConfig& c = run->checkpoint;
  const bool latest = c.resume == "latest";
  if (checkpoint::resumes(c) && !latest) {
    require_one(c.resume);
    folder_ = c.resume;
    (void)run_of(folder_);  // what is wrong with it shows before anything is made
  }
  if (!c.save.empty()) {
    store_.emplace(io::storage(), c.save);
    store_->enter();
  }
  if (latest) find_latest(store_->root());
  if (!c.save.empty()) require_own(run);
}

void Continuation::find_latest(const std::string& root) {
  std::size_t passed = 0;
  const auto found = checkpoint::find_latest(
      io::storage(), root, [&](const checkpoint::Found& one, const std::string& why) {
        log::warn(fmt::format("--resume latest: passing over {}: {}", one.folder, why));
        ++passed;
      });
  if (!found && passed > 0)
    throw DataError(
        fmt::format("--resume latest: none of the {} checkpoints in {} is good", passed, root));
  if (!found) log::info("--resume latest: no checkpoint in " + root + "; starting at step 0");
  folder_ = found ? found->folder : "";
}

void Continuation::require_own(const Validated& run) const {
  const std::vector<checkpoint::Found> all = checkpoint::list(io::storage(), run->checkpoint.save);
  if (all.empty()) return;
  const std::string what = fmt::format(
      "--save: {} holds checkpoints of another run, the newest of "
      "step {}",
      run->checkpoint.save, all.front().step);
  if (folder_.empty())
    throw ConfigError({what + "; go on from it with --resume latest, or give another folder"});
  const checkpoint::Checkpoint from(io::storage(), folder_);
  const std::string& own = from.manifest().run;
  if (run->checkpoint.resume != "latest" && from.manifest().progress.step < all.front().step)
    log::warn(
        fmt::format("--resume: {} holds a newer checkpoint, of step {}; --resume latest goes "
                    "back to it until it is replaced",
                    run->checkpoint.save, all.front().step));
  for (const checkpoint::Found& found : all) {
    std::string other;
    try {
      other = run_of(found.folder);
    } catch (const DataError&) {  // damaged: whose it was cannot be told
      continue;
    }
    if (other != own) throw ConfigError({what + " than " + folder_ + "; give another folder"});
    return;
  }
}

namespace {

// Dropout is a hyper-parameter, though part of what a network computes.
bool same_network(const std::string& was, const std::string& now) {
  const auto plain = [](const std::string& text) {
    auto all = nlohmann::json::parse(text, nullptr, false);
    if (!all.is_object()) return text;
    all.erase("dropout");
    return all.dump();
  };
  return plain(was) == plain(now);
}

std::string setting(const std::map<std::string, std::string>& all, const char* key,
                    const char* usual) {
  const auto found = all.find(key);
  return found == all.end() ? usual : found->second;
}

// What was frozen has no moments, and what was trained has some that would be lost; another format
// of the frozen ones is another network to the rest.
void require_same_frozen(const checkpoint::Checkpoint& from, const Origin& now) {
  if (from.manifest().progress.applied == 0) return;
  const auto differ = [&](const char* key, const char* usual, const char* verb) {
    const std::string before = setting(from.manifest().settings, key, usual);
    const std::string after = setting(now.settings, key, usual);
    if (before == after) return;
    throw ConfigError({fmt::format(
        "{}: got '{}', but {} {} '{}'; sherd checkpoint export keeps the weights alone",
        flag_of(key), after, from.folder(), verb, before)});
  };
  differ("freeze", "", "froze");
  differ("frozen_dtype", "param", "has");
}

// The moments of one rule are not those of another.
void require_moments(const checkpoint::Checkpoint& from, const Origin& now) {
  const auto was = from.manifest().settings.find("optimizer");
  if (from.manifest().progress.applied == 0 || was == from.manifest().settings.end()) return;
  const std::string& rule = now.settings.at("optimizer");
  if (was->second == rule) return;
  throw ConfigError(
      {fmt::format("--optimizer: {} has the moments of {}, which are no moments of "
                   "{}; sherd checkpoint export keeps the weights alone",
                   from.folder(), was->second, rule)});
}

}  // namespace

Origin origin_of(const Validated& run, const Job& job) {
  Origin origin{
      job.description, fmt::format("{:016x}", job.train ? job.train->fingerprint() : 0), {}};
  RunConfig config = *run;
  for (const Field& field : describe(config)) {
    if (shapes_training(field)) origin.settings[std::string(field.key)] = text_of(field);
  }
  // Found again from another folder.
  if (std::string& tokenizer = origin.settings["tokenizer"]; tokenizer != "bytes") {
    std::error_code ignored;
    tokenizer = std::filesystem::absolute(tokenizer, ignored).lexically_normal().string();
  }
  return origin;
}

std::vector<std::string> changes(const checkpoint::Checkpoint& from, const Origin& now) {
  const checkpoint::Manifest& was = from.manifest();
  if (!same_network(was.model, now.model))
    throw DataError(
        fmt::format("{}: is of another model: {}, not {}", from.folder(), was.model, now.model));
  if (!was.data.empty() && was.data != now.data)  // an imported one has seen none
    throw DataError(from.folder() + ": was trained on other data (--data, --seq-len, --tokenizer)");
  require_moments(from, now);
  require_same_frozen(from, now);
  std::vector<std::string> all;
  for (const auto& [key, value] : now.settings) {
    const auto before = was.settings.find(key);
    if (before != was.settings.end() && before->second != value)
      all.push_back(fmt::format("{} {} -> {}", flag_of(key), before->second, value));
  }
  return all;
}

}  // namespace sherd::launch
