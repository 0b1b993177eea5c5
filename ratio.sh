. /tmp/fin19/env.sh
for t in /tmp/fin19/old /tmp/fin19/bench /tmp/fin19/old /tmp/fin19/bench; do cd $t; PYTHONPATH=$t:$t/nemo_vtb/hydra_plugin $t) nice -n 3 python /tmp/fin19/ratio.py 2>>/tmp/fin19/ratio.err | grep '^{' >> /tmp/fin19/ratio.out; done
